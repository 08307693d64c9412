"""With which code a service ends; the supervisor starts it again in either case."""

UNFORESEEN = 70  # EX_SOFTWARE
NOT_LIVE = 71  # it had work, and did not come on
