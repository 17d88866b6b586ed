"""What stands before the requests: who is let in, what they may, and the server itself."""
