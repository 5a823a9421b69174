"""Steer a running session: a Unix socket, its client, and the configuration file."""
