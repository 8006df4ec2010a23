"""Checks of this machine, its folders and what was published."""
