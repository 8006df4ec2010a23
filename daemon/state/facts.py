"""What the running service notes in the ledger for `status`; a key each, the values are for a person."""

ENGINE = "engine"  # its device, such as "cpu", or UNLOADED; missing while it starts
UNLOADED = "unloaded, idle"
WATCHING = "watching"  # "natively", or which outboxes are polled and why
PAUSED = "paused "  # followed by a user's name: why nothing can be published for them
