"""Implements the commands of ``purple-sector``."""
