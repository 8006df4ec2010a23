"""The optimiser: pixels of faces are changed until recognisers see the target, inside a visibility budget."""
