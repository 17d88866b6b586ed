"""The REST tier: a client of the workers like any other, which reads the shared database."""
