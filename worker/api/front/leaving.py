"""Clients that go away in the middle of an answer.

What is written to a socket whose other end is closed goes well once; so that a stream to nobody
gives its thread back with the next piece, the socket is asked before each.
"""

import errno
import socket
from select import POLLIN, poll
from typing import Any

from cheroot.wsgi import Gateway_10

ALERT = b"\x15"
"""TLS's record of a close, which comes before TCP's."""


class LeavingGateway(Gateway_10):
    """WSGI 1.0 as cheroot has it, for clients that may leave."""

    def write(self, chunk: bytes) -> Any:  # noqa: ANN401 - as WSGI has it
        """Send a piece; raises ConnectionResetError when nobody reads it any more."""
        if self.req.sent_headers and has_left(self.req.conn.socket):
            raise ConnectionResetError(errno.ECONNRESET, "the client has gone")
        return super().write(chunk)


def has_left(connection: socket.socket) -> bool:
    """Tell whether the other side has closed; what it has sent meanwhile stays to be read."""
    looking = poll()
    looking.register(connection, POLLIN)
    if not looking.poll(0):
        return False
    try:
        # Not that of a TLS connection, which cannot peek.
        return socket.socket.recv(connection, 1, socket.MSG_PEEK) in (b"", ALERT)
    except OSError:
        return True
