"""The catalogue of face recognisers whose weights are fetched, and how they are fetched. Imports no torch."""
