"""Decides what a batch holds and which frames are new. Pure."""
