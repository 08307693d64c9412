"""Telling people of alerts: which channel hears of what, in digests, until somebody acknowledges."""
