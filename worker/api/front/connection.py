"""One client's connection: none of the server's threads waits for it longer than it may."""

import logging
import socket
import ssl
import time
from typing import Any

from cheroot.makefile import BufferedWriter, StreamReader
from cheroot.server import HeaderReader, HTTPConnection, HTTPRequest

LOG = logging.getLogger(__name__)

ARRIVING = 10.0
"""Seconds within which a request has to be there whole, its handshake and body included."""

TAKING = 30.0
"""Seconds within which a client has to take what is written to it at once."""

DRAINED = 1 << 20
"""Bytes of a body that nobody wanted that are read all the same: a client that still writes when
the connection is closed does not see the answer."""


class Hurried(socket.SocketIO):
    """A socket's bytes, as long as the time that was given lasts: not each piece, but all."""

    _deadline = 0.0
    _sock: socket.socket

    def hurry(self, seconds: float) -> None:
        """Give so much time from now on."""
        self._deadline = time.monotonic() + seconds

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - anything to be written in
        """Read what there is; raises TimeoutError."""
        self._sock.settimeout(self._left())
        return super().readinto(buffer)

    def write(self, piece: Any) -> int | None:  # noqa: ANN401 - anything with bytes
        """Write as much as goes; raises TimeoutError."""
        self._sock.settimeout(self._left())
        return super().write(piece)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            # In the words by which cheroot knows it.
            raise TimeoutError("timed out")
        return left


class Reader(StreamReader):
    """What the client says."""

    raw: Hurried

    def __init__(self, sock: socket.socket, size: int) -> None:
        super().__init__(sock, "rb", size)
        self._raw = Hurried(sock, "rb")


class Writer(BufferedWriter):
    """What is said to the client; each piece in its own time."""

    raw: Hurried

    def __init__(self, sock: socket.socket, size: int) -> None:
        super().__init__(Hurried(sock, "wb"), size)
        self.bytes_written = 0

    def write(self, piece: Any) -> int:  # noqa: ANN401 - anything with bytes
        """Write all of it; raises TimeoutError."""
        self.raw.hurry(TAKING)
        written: int = super().write(piece)  # type: ignore[no-untyped-call]
        self.bytes_written += written
        return written


def _file(sock: socket.socket, mode: str, size: int) -> Reader | Writer:
    return Reader(sock, size) if "r" in mode else Writer(sock, size)


class Headers(HeaderReader):
    """A request's headers. cheroot's own class for what follows compares bytes with text."""

    def _allow_header(self, name: bytes) -> bool:
        """Drop ``X_Auth_Token``: WSGI would take it for ``X-Auth-Token``, and a proxy would not."""
        return b"_" not in name


class Request(HTTPRequest):
    """One request."""

    header_reader = Headers()

    def read_request_headers(self) -> bool:
        """Read them; a body whose length is not told is refused, since it could not be bounded."""
        understood = bool(super().read_request_headers())  # type: ignore[no-untyped-call]
        if understood and self.chunked_read:
            self.simple_response("411 Length Required", "say Content-Length, and send it unchunked")
            return False
        return understood

    def send_headers(self) -> None:
        """Send them, once what is left of the body is out of the way."""
        left = getattr(self.rfile, "remaining", 0)
        if left > DRAINED:
            self.close_connection = True
        elif left > 0:
            self.rfile.read(left)
        super().send_headers()


class Connection(HTTPConnection):
    """A connection, whose first request may not have come yet."""

    RequestHandlerClass = Request

    def __init__(self, server: Any, sock: socket.socket, _makefile: Any = None) -> None:  # noqa: ANN401
        """Take the socket."""
        super().__init__(server, sock, _file)
        self.fresh = True
        self._greeted = not isinstance(sock, ssl.SSLSocket)

    def communicate(self) -> bool:
        """Answer one request; tell whether another may come."""
        begun = time.monotonic()
        if not self._greeted and not self._greet():
            return False
        self.rfile.raw.hurry(ARRIVING - (time.monotonic() - begun))
        return bool(super().communicate())  # type: ignore[no-untyped-call]

    def _greet(self) -> bool:
        try:
            self.socket.settimeout(ARRIVING)
            self.socket.do_handshake()
        except OSError as error:
            LOG.info("api tls handshake failed: client=%s error=%s", self.remote_addr, error)
            return False
        self._greeted = True
        return True
