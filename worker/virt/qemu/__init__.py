"""QEMU itself, seen past libvirt."""
