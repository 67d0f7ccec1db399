"""Deletes sessions, and all that is stored of a user."""
