"""Turns frames into laps: the lap engine."""
