"""Consumes partitions, and creates topics."""
