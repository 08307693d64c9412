"""A registry of Prometheus metrics, as every service begins with one."""

import prometheus_client
from prometheus_client import CollectorRegistry


def new_registry() -> CollectorRegistry:
    """Without `_created` series: one more for each counter, of no use to anybody here."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    return CollectorRegistry()
