"""Keeps frames until Kafka has acknowledged them."""
