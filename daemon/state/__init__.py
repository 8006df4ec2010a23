"""Persistent state, in the state folder: ledger, history, targets, cached results."""
