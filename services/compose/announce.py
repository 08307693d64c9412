"""Tells the log what was raised."""

from collections.abc import Sequence

import structlog

from services.alerts.sweep import Raised
from shared.times import from_micros, isoformat

logger = structlog.get_logger("alerts")

TOLD_ONE_BY_ONE = 20


def log_raised(raised: Sequence[Raised]) -> None:
    """One by one, or only their number when there are many; quiet ones are listed, not told."""
    sent = [alert for alert in raised if not alert.quiet]
    if len(sent) < len(raised):
        logger.info("历史逾期只列出，不提醒", action="alerts_listed", alerts=len(raised) - len(sent))
    if len(sent) > TOLD_ONE_BY_ONE:
        logger.warning("一批提醒", action="alerts_raised", alerts=len(sent))
        return
    for alert in sent:
        logger.warning(
            "提醒",
            action="alert_raised",
            case=alert.key,
            rung=alert.rung,
            target=alert.target,
            due_at=isoformat(from_micros(alert.due_at)),
        )
