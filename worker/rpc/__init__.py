"""The bus: methods, wire format, servers, the outbox relay and the client."""

import sys
from contextlib import suppress
from importlib import import_module

from oslo_service.backend import BackendType, init_backend
from oslo_service.backend.exceptions import BackendAlreadySelected


def _choose_threads() -> None:
    """Load oslo.messaging as if eventlet were not installed, unless somebody uses it already.

    Done here, because whoever imports anything of the bus, an API tier included, comes through
    this file, and the choice is made by the first import. Without it eventlet is loaded for
    nothing: 18 MiB, half a second, and a warning on the terminal of whoever ran a command.
    """
    ours = "eventlet" not in sys.modules
    sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]
    # A process that has loaded oslo.messaging by itself has chosen; our threads run beside it.
    with suppress(BackendAlreadySelected):
        init_backend(BackendType.THREADING)
    import_module("oslo_messaging")
    if ours:
        del sys.modules["eventlet"]


_choose_threads()
