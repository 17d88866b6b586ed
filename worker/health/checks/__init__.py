"""Looks at what the worker stands on, one by one, each on its own and for so long."""
