"""From an instance that is asked for to what is kept of it."""
