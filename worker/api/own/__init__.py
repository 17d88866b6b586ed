"""What no other service has: operations, updates as they come, and how the API itself is."""
