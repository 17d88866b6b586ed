"""What this ring runs on."""

from tests.functional.rigs import make_rig, rig
from tests.parts import guest_image, libvirtd, make_guest

__all__ = ["guest_image", "libvirtd", "make_guest", "make_rig", "rig"]
