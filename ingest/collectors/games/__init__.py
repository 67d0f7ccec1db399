"""Reads games: shared memory and network protocols."""
