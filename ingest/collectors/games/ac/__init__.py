"""Follows Assetto Corsa."""
