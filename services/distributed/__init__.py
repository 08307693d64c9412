"""The distributed form: ingest, rules and alerts as processes of their own around Kafka. So far: broker, topics, ingest's way in."""
