"""Executes the commands that a collector receives."""
