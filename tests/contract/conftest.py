"""What this ring runs on."""

from tests.parts import guest_image, libvirtd, make_guest

__all__ = ["guest_image", "libvirtd", "make_guest"]
