"""The alerts service on Kafka: records of cases in, projections in PostgreSQL, alerts and figures out."""
