"""What arrives in the outboxes: events, rescans, settled and complete files. It ends at a READY row of the ledger."""
