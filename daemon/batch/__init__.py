"""Commands that run the engine on named files, without the service: `cloak`, and `sybil` for decoys."""
