"""Writes the store, exactly once."""
