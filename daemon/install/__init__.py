"""systemd units: their text, a preflight check, where they are installed."""
