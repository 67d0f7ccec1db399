"""Runs on game PCs: follows a game and sends its frames."""
