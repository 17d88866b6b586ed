"""What this ring runs on."""

from tests.functional.builders import builder
from tests.functional.rigs import make_rig, rig
from tests.parts import guest_image, libvirtd, living_libvirtd, make_guest, own_libvirtd

__all__ = [
    "builder",
    "guest_image",
    "libvirtd",
    "living_libvirtd",
    "make_guest",
    "make_rig",
    "own_libvirtd",
    "rig",
]
