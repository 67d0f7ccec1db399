"""Delivers spooled frames to Kafka."""
