"""File access that stays below a folder, atomic writes, file names, locks."""
