"""Turns Kafka records into columns of frames."""
