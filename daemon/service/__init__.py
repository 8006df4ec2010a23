"""The running service: its loop, what it hands to the engine, how each photo ends, hooks."""
