"""The SLA processor on Faust: events in, records of cases and dead letters out."""
