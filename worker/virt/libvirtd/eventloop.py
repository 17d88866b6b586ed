"""libvirt's event loop: one thread a process, whatever the number of connections."""

import logging
import threading
import time
from functools import cache
from typing import NoReturn

import libvirt

LOG = logging.getLogger(__name__)

_PAUSE_AFTER_FAILURE = 1.0


@cache
def start_event_loop() -> threading.Thread:
    """Start the loop, once; call it before the first connection is opened.

    libvirt binds a connection to the loop that is registered when it is opened
    (https://libvirt.org/html/libvirt-libvirt-event.html). Events arrive on this thread, and a
    call to libvirt from it would wait for an answer that only this thread can read.
    """
    libvirt.virEventRegisterDefaultImpl()
    # libvirt would print every error to stderr, those included that we expect and handle.
    libvirt.registerErrorHandler(_keep_quiet, None)
    thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
    thread.start()
    return thread


def _run() -> NoReturn:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            LOG.exception("libvirt event loop stumbled:")
            time.sleep(_PAUSE_AFTER_FAILURE)


def _keep_quiet(_context: object, _error: object) -> None:
    pass
