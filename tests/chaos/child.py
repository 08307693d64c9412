"""Runs a command of `liuyan` in a process that kills itself at one step of its loop: no handler, no flush, no farewell.

    python -m tests.chaos.child ingest services.ingest.kafka:KafkaIngest._send before 3

kills it with SIGKILL before the third call of that function (or `after` it has returned).
"""

import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any


def main(kind: str, place: str, when: str, number: str) -> None:
    from services.commands.cli import main as liuyan

    arm(place, when, int(number))
    sys.argv = ["liuyan", kind]
    liuyan()


def arm(place: str, when: str, number: int) -> None:
    """Replace the function at `module:name` or `module:Class.name`."""
    module_name, _, path = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    setattr(owner, name, deadly(getattr(owner, name), when, number))


def deadly(function: Callable[..., Any], when: str, number: int) -> Callable[..., Any]:
    calls = count(1)

    def perhaps(now: str, call: int) -> None:
        if now == when and call == number:
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        call = next(calls)
        perhaps("before", call)
        result = function(*args, **kwargs)
        perhaps("after", call)
        return result

    @functools.wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        call = next(calls)
        perhaps("before", call)
        result = await function(*args, **kwargs)
        perhaps("after", call)
        return result

    return awaited if inspect.iscoroutinefunction(function) else called


if __name__ == "__main__":
    main(*sys.argv[1:])
