"""The web server: cheroot, on a bounded pool of threads."""

import logging
import threading
from pathlib import Path
from typing import Any

from cheroot.wsgi import Server

from worker.api.front.connection import Connection
from worker.api.front.leaving import LeavingGateway
from worker.api.front.tls import LateAdapter
from worker.errors import Invalid

LOG = logging.getLogger(__name__)

IDLE = 30
"""Seconds after which a connection on which nothing is asked is closed."""

HEADERS = 65536
"""Bytes of request line and headers: a token of Keystone may have thousands."""

CONNECTIONS = 1000
"""How many may be open at once; one more is closed."""

BACKLOG = 128

LAST = 2.0
"""Seconds that the server itself gets, after the requests."""


class WebServer:
    """Serves a WSGI application at one address, until it is stopped."""

    def __init__(
        self,
        application: Any,  # noqa: ANN401 - a WSGI callable
        address: tuple[str, int],
        *,
        threads: int,
        tls: tuple[Path, Path] | None = None,
        patience: float = 5.0,
    ) -> None:
        """``tls`` is a certificate with its chain, and its key; PEM. Raises Invalid.

        ``patience`` is how many seconds running requests get at a stop.
        """
        self._address = address
        self._patience = patience
        self._server = _Server(address, application, numthreads=threads)
        self._server.shutdown_timeout = patience
        if tls is not None:
            self._server.ssl_adapter = LateAdapter(*tls)
        self._thread = threading.Thread(target=self._server.serve, name="api", daemon=True)

    def start(self) -> int:
        """Begin to serve; return the port, for whoever has asked for any (0). Raises Invalid."""
        try:
            self._server.prepare()
        except OSError as error:
            host, port = self._address
            message = f"the API cannot be served at {host}:{port} ({error}); change [api] listen"
            raise Invalid(message) from error
        self._thread.start()
        _, port, *_ = self._server.bind_addr
        return int(port)

    def stop(self) -> None:
        """Take no more requests, and let those under way end, as long as the patience lasts."""
        stopping = threading.Thread(target=self._server.stop, name="api stop", daemon=True)
        stopping.start()
        stopping.join(self._patience + LAST)
        self._thread.join(LAST)


class _Server(Server):
    """cheroot's, which gives a thread to a connection when there is something to be read."""

    ConnectionClass = Connection
    _connections: Any
    max_request_header_size = HEADERS
    keep_alive_conn_limit = CONNECTIONS
    timeout = IDLE

    def __init__(self, address: tuple[str, int], application: Any, *, numthreads: int) -> None:  # noqa: ANN401
        super().__init__(
            address,
            application,
            numthreads=numthreads,
            server_name="blockworker",
            timeout=IDLE,
            request_queue_size=BACKLOG,
        )
        self.gateway = LeavingGateway

    def process_conn(self, conn: Connection) -> None:
        """Have a thread answer, unless nothing was asked yet: cheroot would let it wait."""
        if not conn.fresh:
            super().process_conn(conn)
            return
        conn.fresh = False
        if self.can_add_keepalive_connection:
            self._connections.put(conn)
        else:
            conn.close()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:  # noqa: FBT001, FBT002 - cheroot's
        """Log what cheroot has to say, a line each."""
        LOG.log(level, "api server: %s", " ".join(str(msg).split()), exc_info=traceback or None)
