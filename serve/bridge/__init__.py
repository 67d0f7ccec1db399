"""Serves the live stream and the store to viewers."""
