"""Changes, deletes and exports what is stored of sessions and users."""
