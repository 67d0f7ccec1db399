"""Implements the commands that game PCs run."""
