"""Holds the plain values of the analysis, without a database, a file or a network."""
