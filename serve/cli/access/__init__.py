"""Implements ``purple-sector access``."""
