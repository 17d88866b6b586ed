"""What several handlers do: found devices, reached volumes, power, and the like."""
