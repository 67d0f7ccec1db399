"""Compares laps: traces, corners, consistency, insights."""
