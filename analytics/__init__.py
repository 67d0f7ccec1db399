"""Arrow tables in, Arrow tables out: what laps are, and how to read them back."""
