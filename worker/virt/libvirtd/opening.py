"""One attempt to open a connection, on a thread of its own.

libvirt waits for a daemon that has taken the connection and does not answer, without end and
without a way to call it off; those who need the connection wait no longer than they want.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from worker.virt.libvirtd.session import Session


class Opening:
    """An attempt that has begun; any number of threads may wait for it."""

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open = open_session
        self._session: Future[Session] = Future()
        self._thread = threading.Thread(target=self._run, name="libvirt-opening", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it has come to a session or an error."""
        return self._session.done()

    def wait(self, seconds: float) -> Session:
        """Return the session, or raise what the attempt did; raises TimeoutError."""
        return self._session.result(seconds)

    def join(self, seconds: float) -> None:
        """Wait up to that long until its thread is gone."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._session.set_result(self._open())
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            self._session.set_exception(error)
