"""Updates as they come, for as long as somebody listens: server-sent events."""
