"""The rows of instances, devices, connections and the pool."""
