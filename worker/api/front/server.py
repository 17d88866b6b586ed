"""The web server: cheroot, on a bounded pool of threads."""

import threading
from pathlib import Path
from typing import Any

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

STOPPING = 5
"""Seconds that running requests get at a stop."""


class WebServer:
    """Serves a WSGI application at one address, until it is stopped."""

    def __init__(
        self,
        application: Any,  # noqa: ANN401 - a WSGI callable
        address: tuple[str, int],
        *,
        threads: int,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """``tls`` is a certificate with its chain, and its key; PEM."""
        self._server = Server(
            address, application, numthreads=threads, shutdown_timeout=STOPPING, timeout=30
        )
        if tls is not None:
            certificate, key = map(str, tls)
            self._server.ssl_adapter = BuiltinSSLAdapter(certificate, key)
        self._thread = threading.Thread(target=self._server.serve, name="api", daemon=True)

    def start(self) -> int:
        """Begin to serve; return the port, for whoever has asked for any (0)."""
        self._server.prepare()
        self._thread.start()
        _, port, *_ = self._server.bind_addr
        return int(port)

    def stop(self) -> None:
        """Take no more requests; those under way get a moment."""
        self._server.stop()
        self._thread.join(STOPPING)
