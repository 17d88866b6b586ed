"""Pure parts of the API tier."""
