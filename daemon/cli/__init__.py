"""What a person types, and the only room that prints."""
