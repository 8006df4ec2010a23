"""Scripts that measure what the README claims; run them from the root, `python -m tests.benchmarks.NAME --help`."""
