"""Photo files: bytes to pixels and back, the metadata that may be kept, the photo's colour space and tone."""
