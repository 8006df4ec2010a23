"""What outlives a run, in the state folder: ledger, history, targets, cached results."""
