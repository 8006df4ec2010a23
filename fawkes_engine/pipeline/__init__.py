"""One photo on its way: batches, whose face it is, the encoded file, its verification."""
