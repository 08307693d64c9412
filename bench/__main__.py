"""Runs the benches, all or those named: python -m bench [deadline] [replay] [push] …"""

import importlib
import sys

BENCHES = ("deadline", "replay", "push", "midnight", "scrape", "page", "ingest", "sla", "alerts", "visible", "notices")


def main() -> None:
    names = sys.argv[1:] or BENCHES
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    for name in names:
        module = importlib.import_module(f"bench.{name}")
        print(f"\n== {name}: {(module.__doc__ or '').strip().splitlines()[0]}", flush=True)
        module.main()


if __name__ == "__main__":
    main()
