"""Image filters, and how visible a change of pixels is."""
