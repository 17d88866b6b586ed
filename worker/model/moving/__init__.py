"""What is taken over with an adoption, and carried to another host."""
