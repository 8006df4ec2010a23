"""The web page of the service: looks at the ledger, acts through the control socket, in a process of its own."""
