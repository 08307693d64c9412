"""Threads that take one step after another until they are told to stop: the work of a service beside its HTTP application.

What is expected to go wrong (a database or a broker that is away) is told once and tried again; anything else ends the process,
so that nothing goes on from a state that nobody foresaw. A loop that has not come on for too long is told as dead.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import NoReturn

import structlog

from shared.exits import NOT_LIVE, UNFORESEEN

logger = structlog.get_logger("loop")

LOOK_SECONDS = 1.0
RETRY_SECONDS = 1.0
STUCK_SECONDS = 60.0


class FatalError(Exception):
    """Foreseen, and nothing to be done about it in this process: the message (Chinese, one line) says why it ends."""


class Loop:
    """`step` returns for how many seconds there is nothing to do. `transient`: the exceptions after which it is tried again."""

    def __init__(
        self,
        name: str,
        step: Callable[[], float],
        transient: tuple[type[Exception], ...],
        die: Callable[[], NoReturn] = lambda: os._exit(UNFORESEEN),
    ) -> None:
        self.name, self._step, self._transient, self._die = name, step, transient, die
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._wake = threading.Event()
        self.stopping = threading.Event()
        self._beat = time.monotonic()
        self._trouble: str | None = None

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Take the next step at once."""
        self._wake.set()

    def hurry(self) -> None:
        """Let this step be the last one."""
        self.stopping.set()
        self._wake.set()

    def stop(self) -> None:
        """Blocks until the step at hand is done."""
        self.hurry()
        if self._thread.ident is not None:
            self._thread.join()

    def stuck(self) -> bool:
        """Whether no step has ended for too long, or the thread has."""
        return not self._thread.is_alive() or time.monotonic() - self._beat > STUCK_SECONDS

    def trouble(self) -> str | None:
        """What keeps the loop from its work at present (Chinese, one line); None when nothing does."""
        return f"{self.name} 已停止" if self.stuck() else self._trouble

    def _run(self) -> None:
        while not self.stopping.is_set():
            wait = self._once()
            self._beat = time.monotonic()
            if wait > 0:
                self._wake.wait(min(wait, STUCK_SECONDS / 2))
            self._wake.clear()

    def _once(self) -> float:
        try:
            wait = self._step()
        except self._transient as error:
            if self._trouble is None:
                detail = " ".join(str(getattr(error, "orig", error)).split())[:200]
                logger.warning(
                    "出了问题，不断重试",
                    action="loop_failing",
                    loop=self.name,
                    error=type(error).__name__,
                    detail=detail,
                )
            self._trouble = f"{self.name}：{type(error).__name__}，正在重试"
            return RETRY_SECONDS
        except FatalError as error:
            logger.error("不能继续，退出以便重新启动", action="loop_ended", loop=self.name, reason=str(error))
            self._die()
        except Exception:
            logger.exception("意外的错误，退出以便重新启动", action="loop_died", loop=self.name)
            self._die()
        if self._trouble is not None:
            logger.info("已恢复", action="loop_recovered", loop=self.name)
            self._trouble = None
        return wait


def exit_when(unhealthy: Callable[[], str | None], bite: Callable[[], None] = lambda: os._exit(NOT_LIVE)) -> None:
    """Watch from a thread of its own, and end the process when it is not live: a supervisor's restart is what helps then."""

    def watch() -> None:
        while (reason := unhealthy()) is None:
            time.sleep(LOOK_SECONDS)
        logger.error("不再有进展，退出以便重新启动", action="watchdog", reason=reason)
        bite()

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
