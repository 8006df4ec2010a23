"""Installation as a systemd service: unit files, preflight checks, installer."""
