"""Volume services, os-brick, and the table of protocols."""
