"""Attach, detach and rescue the block devices of instances on one libvirt host."""

__version__ = "0.1.0"
