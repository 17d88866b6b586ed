"""Every element of libvirt's XML that is written or read."""
