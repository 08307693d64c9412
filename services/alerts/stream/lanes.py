"""Applies what was read, in several threads: while one waits for the database, another computes, and the reader reads on.

Whole partitions are a lane's, so that what was read of one is applied in its order.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from services.alerts.stream.apply import Batch

AT_MOST = 2  # transactions of a lane: one that is applied, and the next, so that there is one at once

Apply = Callable[[Sequence[Batch]], object]


class Lane:
    """For one thread's use. Transactions that it was given are applied one after the other, up to the first that fails."""

    def __init__(self, apply: Apply) -> None:
        self._apply = apply
        self._thread = ThreadPoolExecutor(1, "projecting")
        self._given: deque[tuple[Sequence[Batch], Future[None]]] = deque()
        self._failed = False

    def give(self, batches: Sequence[Batch]) -> list[Batch]:
        """Have them applied in one transaction, as soon as there is room; answers as `applied`."""
        done = list(self._done(AT_MOST - 1))
        self._given.append((batches, self._thread.submit(self._run, batches)))
        return done

    def applied(self) -> list[Batch]:
        """What has been applied since the last answer. Raises what `apply` raised."""
        return list(self._done(AT_MOST))

    def _done(self, most: int) -> Iterator[Batch]:
        while self._given and (len(self._given) > most or self._given[0][1].done()):
            batches, running = self._given.popleft()
            running.result()
            yield from batches

    def _run(self, batches: Sequence[Batch]) -> None:
        if self._failed:
            return  # the one before is told first, and then all are forgotten
        try:
            self._apply(batches)
        except BaseException:
            self._failed = True
            raise

    def forget(self) -> None:
        """Waits until nothing is under way; what came of it is not told any more. Then it begins anew."""
        wait([running for _, running in self._given])
        self._given.clear()
        self._failed = False

    def close(self) -> None:
        """As `forget`; nothing can be given any more."""
        self._thread.shutdown()
