"""Answers REST requests from the store."""
