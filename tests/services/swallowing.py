"""A broker between worker and broker that lets a connection live, and drops what it delivers."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

HEADER = struct.Struct(">BHI")
METHOD, CONTENT_HEADER, CONTENT_BODY = 1, 2, 3
DELIVER = struct.pack(">HH", 60, 60)
"""basic.deliver, as a method frame begins."""


class Swallowing:
    """A proxy on a port of its own. While ``swallows`` is set no delivery comes through.

    Everything else does: heartbeats, confirmations, answers to declarations.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.swallows = threading.Event()
        self.port = int(self._door.getsockname()[1])
        self.swallowed = 0
        self._begin(self._let_in)

    def close(self) -> None:
        """Close every connection."""
        for each in (self._door, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _let_in(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._port))
                except ConnectionRefusedError:
                    client.close()
                    continue
                self._open += [client, server]
                self._begin(self._up, client, server)
                self._begin(self._down, server, client)

    def _begin(self, work: object, *arguments: socket.socket) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with self._both(client, server):
            while data := client.recv(65536):
                server.sendall(data)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        dropped: set[int] = set()
        with self._both(client, server), server.makefile("rb") as stream:
            while head := stream.read(HEADER.size):
                kind, channel, size = HEADER.unpack(head)
                body = stream.read(size + 1)
                if kind == METHOD:
                    dropped.discard(channel)
                    if body.startswith(DELIVER) and self.swallows.is_set():
                        dropped.add(channel)
                        self.swallowed += 1
                if channel not in dropped or kind not in (METHOD, CONTENT_HEADER, CONTENT_BODY):
                    client.sendall(head + body)

    @contextmanager
    def _both(self, *ends: socket.socket) -> Iterator[None]:
        with ExitStack() as stack, suppress(OSError):
            for end in ends:
                stack.callback(end.close)
            yield


@contextmanager
def swallowing(port: int) -> Iterator[Swallowing]:
    """Lend a proxy before a broker's port."""
    proxy = Swallowing(port)
    try:
        yield proxy
    finally:
        proxy.close()
