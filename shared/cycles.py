"""Python's search for cycles of objects, for processes in which objects by the thousand live for milliseconds and form none."""

import gc

COLLECT_AFTER = (50_000, 20, 100)
"""Objects, and rounds: with Python's own 700 the search takes a quarter of the rate at which records are worked through."""


def search_seldom() -> None:
    """To be called at the start: what is there by then stays, and need not be looked at again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
