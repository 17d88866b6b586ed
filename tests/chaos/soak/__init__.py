"""The soak: many operations over a few guests, while worker or libvirtd are killed all along."""
