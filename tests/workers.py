"""Which tests several workers of pytest-xdist may run at once: `make test` has two, so that one works while the other waits.

A file is of one worker, which makes once what its tests share. The files of WHOLE are all of one worker: each of their tests runs a
whole system of broker, database and services, in real time, and two of them at once would be too much for a small machine.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

WHOLE = (
    "tests/chaos/",
    "tests/integration/test_cluster.py",
    "tests/integration/test_demo_kafka.py",
    "tests/docs/test_docs_distributed.py",
)


def needs_the_machine(nodeid: str) -> bool:
    return nodeid.startswith(WHOLE)


class OneAtATime(LoadFileScheduling):
    """Files in the order in which they were collected; those of WHOLE are as one."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return "whole systems" if needs_the_machine(nodeid) else super()._split_scope(nodeid)
