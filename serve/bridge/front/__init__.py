"""Configures what stands before the replicas: HAProxy with its limits, its headers and TLS."""
