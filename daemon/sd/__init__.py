"""systemd integration: the notify socket and the journal."""
