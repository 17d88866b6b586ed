"""/healthz and /metrics over HTTP, on a loopback port or a unix socket.

The answers are made from what is known already: whoever asks waits for nobody, and nobody for
him.
"""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import BaseServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CONTENT_TYPE_LATEST

LOG = logging.getLogger(__name__)

ASKING = 2.0
"""Seconds that a connection may take to ask, and to take its answer."""

LOOK = 0.1
"""Seconds after which a server that is stopped notices."""

MOST = 16
"""Connections served at once; one more is closed."""

Page = tuple[HTTPStatus, str, bytes]
Health = Callable[[], dict[str, Any]]
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def application(health: Health, metrics: Callable[[], bytes]) -> Application:
    """Return the WSGI application; ``health`` has ``ok`` among what it returns."""

    def healthz() -> Page:
        told = health()
        status = HTTPStatus.OK if told["ok"] else HTTPStatus.SERVICE_UNAVAILABLE
        return status, "application/json", json.dumps(told, indent=2).encode() + b"\n"

    def numbers() -> Page:
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics()

    def missing() -> Page:
        return HTTPStatus.NOT_FOUND, "text/plain", b"/healthz or /metrics\n"

    def refused() -> Page:
        return HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET only\n"

    pages = {"/healthz": healthz, "/metrics": numbers}

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
        page, method = pages.get(environ["PATH_INFO"], missing), environ["REQUEST_METHOD"]
        status, kind, body = page() if method in ("GET", "HEAD") else refused()
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start(f"{status.value} {status.phrase}", headers)
        return [] if method == "HEAD" else [body]

    return answer


class HealthServer:
    """Serves the application from daemon threads."""

    def __init__(self, listening: socket.socket, app: Application) -> None:
        """Take the socket, which is bound already, and close it at the end."""
        self._server = _Server(listening)
        self._server.set_app(app)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(LOOK,), name="health", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(WSGIRequestHandler):
    timeout = ASKING

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: a scrape every few seconds is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a connection, up to a bound, on a socket of whatever kind."""

    daemon_threads = True
    request_queue_size = 2 * MOST
    block_on_close = False

    def __init__(self, listening: socket.socket) -> None:
        # Not that of the library, which makes the socket and asks the DNS for its name.
        BaseServer.__init__(self, listening.getsockname(), _Handler)
        self.socket = listening
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()
        self._places = threading.BoundedSemaphore(MOST)
        self.server_activate()

    def get_request(self) -> tuple[Any, Any]:
        """Take a connection; on a unix socket its peer gets the address that the library wants."""
        request, address = super().get_request()
        return request, address or ("local", 0)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a connection in a thread, if there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """Pass over a connection that breaks: that is the other side's business."""
        LOG.debug("health connection broke")
