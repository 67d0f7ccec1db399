"""Drives simulated cars on simulated circuits."""
