"""One user's way into the sync folder: verify, stage, link, and pause where that cannot be done."""
