"""Follows Assetto Corsa Competizione."""
