"""Engine processes: the pool, one process and its pipe, and what runs in it."""
