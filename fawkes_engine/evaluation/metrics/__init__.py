"""Recognition rates with intervals, and image quality."""
