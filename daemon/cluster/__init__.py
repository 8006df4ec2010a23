"""Engines on other machines: scheduler, nodes, the engine that shares photos out to them, and what it believes."""
