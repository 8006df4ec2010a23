"""Files, names and locks, safe below a folder."""
