"""What systemd hears: the notify socket and the journal."""
