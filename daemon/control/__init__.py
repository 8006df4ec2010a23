"""The control socket of a running service: its commands, its server, its client."""
