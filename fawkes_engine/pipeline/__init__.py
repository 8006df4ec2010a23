"""Processing photos: batching, identification, encoding, verification."""
