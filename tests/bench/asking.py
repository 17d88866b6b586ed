"""A client of the API that keeps its connection, and does little else."""

import json
import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

from tests.bench.worker import PATIENCE

Json = dict[str, Any]

OPERATION = "X-Blockworker-Operation"
TAKEN = 300
"""The first status that says of a request that it was not done."""


class Caller:
    """One connection; for one thread."""

    def __init__(self, port: int, token: str = "") -> None:
        """Nothing is opened yet."""
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._headers = {
            "OpenStack-API-Version": "compute 2.101",
            "X-Auth-Token": token,
            "Content-Type": "application/json",
        }

    def ask(self, method: str, path: str) -> Json:
        """Return the answer's body."""
        found: Json = json.loads(self._answered(method, path, None)[0])
        return found

    def operation(self, method: str, path: str, body: Json | None = None) -> str:
        """Return the operation that the request began."""
        return self._answered(method, path, body)[1]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _answered(self, method: str, path: str, body: Json | None) -> tuple[bytes, str]:
        sent = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, sent, self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        assert answer.status < TAKEN, said
        return said, answer.getheader(OPERATION, "")


def wait_until_it_answers(open_caller: Callable[[], Caller]) -> None:
    """Return when the API answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            open_caller().ask("GET", "/v2.1")
        except ConnectionError:
            assert time.monotonic() < deadline, "the API does not answer"
            time.sleep(0.05)
        else:
            return
