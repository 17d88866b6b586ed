"""What this ring runs on."""

from tests.parts import libvirtd

__all__ = ["libvirtd"]
