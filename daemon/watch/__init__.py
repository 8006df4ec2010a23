"""From the outboxes to READY rows of the ledger: file events, rescans, debounce, completeness checks."""
