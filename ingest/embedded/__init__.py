"""Runs Kafka and PostgreSQL on this machine."""
