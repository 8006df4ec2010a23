"""Engines on other machines: certificates, scheduler, nodes, and the engine that hands its photos to them."""
