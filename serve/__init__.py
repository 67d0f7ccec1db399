"""Serves viewers and operators: the page, REST and the commands."""
