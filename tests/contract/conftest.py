"""What this ring runs on."""

from tests.parts import guest_image, libvirtd, living_libvirtd, make_guest, own_libvirtd

__all__ = ["guest_image", "libvirtd", "living_libvirtd", "make_guest", "own_libvirtd"]
