"""The door: from a portal's push to a settled, de-identified event."""
