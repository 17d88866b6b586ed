"""The API on a worker whose world answers at once."""
