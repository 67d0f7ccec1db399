"""Sends commands to collectors, recovers gaps, and replays dead letters."""
