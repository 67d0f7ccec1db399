"""Assigns partitions to Ray actors, and runs them."""
