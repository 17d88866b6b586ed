"""The local control socket: the same method table, for commands on the worker's own host.

A line of JSON asks, ``{"method", "args"}``, and a line of JSON answers, in the form of
``answers``. Whoever may open the socket is trusted; its mode is 0600.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BufferedRWPair
from pathlib import Path
from typing import Any

from worker.errors import RequestMalformed, WorkerUnreachable
from worker.rpc.answers import answer_of, result_of
from worker.rpc.dispatch import Dispatcher
from worker.rpc.wire import envelope_in

LONGEST = 1024 * 1024
"""Bytes of a request; a longer one is refused and its connection closed."""

IDLE = 60.0
"""Seconds after which a connection that asks nothing is closed."""

PAUSE = 0.2
"""Seconds until the next try, where a connection could not be taken."""

CONNECTIONS = 8
"""So many are served at once; more wait for their turn."""


READINGS = frozenset(
    {
        "ping",
        "get_operation",
        "list_operations",
        "list_instances",
        "get_instance",
        "list_block_devices",
        "list_peripherals",
        "get_block_device",
    }
)
"""What is answered until the very end, since it needs the database alone."""


class LocalServer:
    """Serves the dispatcher on a unix socket."""

    def __init__(self, path: Path, dispatcher: Dispatcher) -> None:
        """Take the path; whatever is there must be a dead worker's (the lease sees to that)."""
        self._path = path
        self._dispatcher = dispatcher
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="local")
        self._thread = threading.Thread(target=self._listen, name="local", daemon=True)
        self._open: set[socket.socket] = set()
        self._leaving = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to serve; the socket is there on return, and never readable by others."""
        bind(self._socket, self._path)
        # Nobody can connect before this, so nobody could before the mode was set.
        self._socket.listen()
        self._thread.start()

    def leave(self) -> None:
        """Answer only what can be read from the database; to all else nobody is there any more."""
        self._leaving.set()

    def stop(self) -> None:
        """Serve no more."""
        self._stopping.set()
        self._path.unlink(missing_ok=True)
        for each in (self._socket, *self._open):
            # Closing alone would not wake the thread that waits on it.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._pool.shutdown(cancel_futures=True)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._socket.accept()
                self._open.add(connection)
                self._pool.submit(self._converse, connection)
            except (OSError, RuntimeError):
                # No file left, say: the door must open again when there is one.
                self._stopping.wait(PAUSE)

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(IDLE)
        try:
            with suppress(OSError), connection, connection.makefile("rwb") as stream:
                while self._answer_one(stream):
                    pass
        finally:
            self._open.discard(connection)

    def _answer_one(self, stream: BufferedRWPair) -> bool:
        line = stream.readline(LONGEST + 1)
        if not line:
            return False
        answer = answer_of(lambda: self._serve(line))
        stream.write(json.dumps(answer).encode() + b"\n")
        stream.flush()
        return len(line) <= LONGEST

    def _serve(self, line: bytes) -> Any:  # noqa: ANN401 - whatever the method answers
        if len(line) > LONGEST:
            raise RequestMalformed(f"the request is longer than {LONGEST} bytes")
        message = envelope_in(line)
        if self._leaving.is_set() and message.method not in READINGS:
            raise WorkerUnreachable("the worker is stopping, and takes nothing more")
        return self._dispatcher.serve(message)


class LocalClient:
    """Asks the worker whose socket this is."""

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        """Give the socket's path; nothing is opened before a call."""
        self._path = path
        self._timeout = timeout

    def call(self, method: str, **arguments: Any) -> Any:  # noqa: ANN401 - plain JSON
        """Return the answer, or raise the error that it tells of; WorkerUnreachable if none.

        An operation needs its ``operation_id`` here too, and is answered as accepted.
        """
        question = json.dumps({"method": method, "args": arguments}).encode() + b"\n"
        try:
            answer = self._asked(question)
            return result_of(json.loads(answer))
        except (OSError, ValueError) as error:
            message = f"no worker answers at {self._path}"
            raise WorkerUnreachable(message) from error

    def _asked(self, question: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout)
            with _short(self._path) as name:
                connection.connect(name)
            with connection.makefile("rwb") as stream:
                stream.write(question)
                stream.flush()
                return stream.readline()


def bind(unbound: socket.socket, path: Path) -> None:
    """Give the socket its path, mode 0600; whatever is there must be a dead worker's."""
    path.unlink(missing_ok=True)
    with _short(path) as name:
        unbound.bind(name)
        Path(name).chmod(0o600)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Name the socket by its open folder: the kernel takes no more than 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
