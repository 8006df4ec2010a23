"""Publishing to a user's sync folder: verify, stage, link, and pause while that is impossible."""
