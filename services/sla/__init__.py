"""The SLA rules: from the events of a case to its deadlines and verdicts. Pure; the engines call it."""
