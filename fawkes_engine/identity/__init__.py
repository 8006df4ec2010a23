"""Identities: the pool of targets, one fixed target per person, and recognising people."""
