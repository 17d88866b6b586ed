"""A guest within the machine, on volumes that the machine connects."""
