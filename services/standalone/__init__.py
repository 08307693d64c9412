"""The embedded engine (one process, SQLite), composed of the three services."""
