"""The embedded engine (one process, SQLite) and the composition root: the one place that imports all services."""

VERSION = "0.1.0"
