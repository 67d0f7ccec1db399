"""Passes live frames from Kafka to WebSocket viewers."""
