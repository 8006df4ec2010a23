"""Named files through the engine, without the service: `cloak` and the decoys of `sybil`."""
