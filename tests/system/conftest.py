"""What this ring runs on."""

import os

from tests.parts import guest_image
from tests.system.machine import INSIDE

__all__ = ["guest_image"]

collect_ignore_glob = [] if INSIDE in os.environ else ["inside/*"]
