"""The command line; no other package prints."""
