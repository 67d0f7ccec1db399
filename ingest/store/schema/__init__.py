"""Creates and migrates the tables."""
