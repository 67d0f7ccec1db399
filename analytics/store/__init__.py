"""Reads the store: sessions, laps and frames."""
