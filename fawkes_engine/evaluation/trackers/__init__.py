"""Trackers: the faces they find, the recognisers they use, and how they name a face."""
