"""Decides who may connect, read and command."""
