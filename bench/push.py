"""Single events over HTTP, 64 connections, each durable before its 202, against a bare Litestar handler that only decodes the body."""

import sys

from bench.flood import flood, server
from bench.measure import folder, median, pin

ROUNDS = 3


def _rate(run: int, *arguments: str) -> float:
    with server(sys.executable, "-m", "bench.pushserver", *arguments) as (port, key, _):
        return flood({"zhenkang": key}, port, run)


def main() -> None:
    pin(1)
    ratios, rates = [], []
    with folder() as where:
        for run in range(ROUNDS):
            ours = _rate(run, "liuyan", str(where / f"{run}.db"))
            bare = _rate(run, "bare")
            ratios.append(ours / bare)
            rates.append((ours, bare))
    ours, bare = (median([rate[i] for rate in rates]) for i in (0, 1))
    print(
        f"ratio {median(ratios):.2f} (goal >= 0.35): {ours:,.0f} durable events/s against {bare:,.0f} requests/s bare"
    )
