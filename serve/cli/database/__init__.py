"""The command ``purple-sector database``: tables and roles of the store."""
