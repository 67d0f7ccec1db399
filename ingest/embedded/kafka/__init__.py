"""Runs Apache Kafka on this machine."""
