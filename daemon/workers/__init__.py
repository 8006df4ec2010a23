"""The engine processes: the pool, one process and its pipe, and the worker that runs in it."""
