"""Who is who: the pool of targets, a fixed target per person, and how people are told apart."""
