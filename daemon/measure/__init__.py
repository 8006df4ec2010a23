"""Measurements: what cloaks cost (`bench`) and how well they protect (`evaluate`, `study`, `audit`)."""
