"""libvirt: calls, domain XML, device events."""
