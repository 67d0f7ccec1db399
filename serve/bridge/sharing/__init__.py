"""Lets guests in by a link, and named users read what is shared with them."""
