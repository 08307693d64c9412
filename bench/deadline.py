"""Deadline of a date: our n-th working day against holidays.get_nth_working_day, every day of 2022-2026."""

from datetime import date, timedelta

import holidays

from bench.measure import median, seconds
from shared.calendars import build_calendars

DAYS = [date(2022, 1, 1) + timedelta(days=i) for i in range(1826)]


def main() -> None:
    calendar = build_calendars().national
    library = holidays.country_holidays("CN", years=range(2021, 2029))
    for n, wanted in ((1, 25), (5, 0), (15, 250)):
        assert all(calendar.nth_working_day(day, n) == library.get_nth_working_day(day, n) for day in DAYS[:1780])

        def ours(n: int = n) -> None:
            for _ in range(20):
                for day in DAYS:
                    calendar.nth_working_day(day, n)

        def theirs(n: int = n) -> None:
            for day in DAYS:
                library.get_nth_working_day(day, n)

        ratios = [seconds(theirs) / (seconds(ours) / 20) for _ in range(7)]
        goal = f" (goal {wanted})" if wanted else ""
        print(f"n={n:<3} {median(ratios):7.0f} times as fast{goal}")
