"""Reads and writes files: recordings, exports, MoTeC."""
