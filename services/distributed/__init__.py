"""The distributed form: ingest, SLA processor and alerts as processes of their own around Kafka and PostgreSQL."""
