"""The command line."""

import sys
from contextlib import suppress

from oslo_service.backend import BackendType, init_backend
from oslo_service.backend.exceptions import BackendAlreadySelected

# futurist and oslo.privsep import eventlet wherever it is installed, only to ask whether it has
# patched the world. It has not: all our threads are real ones. Hidden, it costs no start-up time
# and prints no notice of its deprecation; oslo.service, which os-brick loads, must then be told
# that threads are meant before it looks for it.
sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]
with suppress(BackendAlreadySelected):
    init_backend(BackendType.THREADING)
