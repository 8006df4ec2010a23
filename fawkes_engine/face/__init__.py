"""Face detection, and the square of pixels around a face that the optimiser works on."""
