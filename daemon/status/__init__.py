"""Queries about photos and the service: status, history, and why a photo is held."""
