"""Keys that a loop reads: what was read last holds while the database is away, for a while."""

import pytest

from services.ingest.keys import TRUSTED_SECONDS, WatchedKeys
from shared.http import ProblemError
from shared.secret import digest


def test_what_was_read_last_holds_for_a_while_and_then_nobody_may_push() -> None:
    now, read = [0.0], {digest("one"): "zhenkang"}
    keys = WatchedKeys(lambda: dict(read), lambda: now[0])
    assert not keys.trusted()
    with pytest.raises(ProblemError) as unknown:
        keys.platform_of("one")
    assert (unknown.value.problem.status, unknown.value.headers["Retry-After"]) == (503, "5")
    keys.step()
    read.clear()
    now[0] = TRUSTED_SECONDS
    assert keys.trusted()
    assert (keys.platform_of("one"), keys.platform_of("other")) == ("zhenkang", None)
    now[0] += 1
    assert not keys.trusted()
    with pytest.raises(ProblemError):
        keys.platform_of("one")
    keys.step()
    assert keys.platform_of("one") is None, "revoked meanwhile"
