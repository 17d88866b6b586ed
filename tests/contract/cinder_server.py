"""A Cinder and a Keystone, as far as the worker asks them: on a port of this host, in memory.

It can be told to answer wrongly, late, or not at all.
"""

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.contract.cinder_answers import PROJECT, identity_version, route, token_of
from tests.contract.cinder_state import CinderState, Json, RefusalError

PASSWORD = "planted-password-77ab"
TOKEN = "planted-token-"
NOAUTH = f"worker:{PROJECT}"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What becomes of the next requests whose ``METHOD path`` the pattern finds.

    ``status`` is answered, with ``body`` for a text; ``cut`` closes the connection instead, and
    ``late`` lets so many seconds pass first. With ``done`` the request has its effect all the same.
    """

    on: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = '{"computeFault": {"code": 500, "message": "The server has either erred"}}'
    cut: bool = False
    late: float = 0.0
    done: bool = False
    times: int = 1


@dataclass
class Cinder:
    """What the server is told and has heard; ``state`` is what it keeps.

    ``identity`` asks for tokens that its Keystone gave and that were not ``revoked`` since.
    """

    state: CinderState = field(default_factory=CinderState)
    newest: str = "3.71"
    oldest: str = "3.0"
    identity: bool = False
    roles: tuple[str, ...] = ("admin", "service")
    service_type: str = "volumev3"
    given: int = 0
    revoked: int = 0
    heard: list[str] = field(default_factory=list)
    versions: list[str | None] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    url: str = ""

    def asked(self, pattern: str) -> int:
        """Return how many requests the pattern finds."""
        return sum(bool(re.search(pattern, line)) for line in self.heard)

    def version(self) -> Json:
        """Return what is said of the one API."""
        link = {"rel": "self", "href": f"{self.url}/volume/v3/"}
        spoken = {"version": self.newest, "min_version": self.oldest}
        return {"id": "v3.0", "status": "CURRENT", "links": [link], **spoken}

    def trouble(self, line: str) -> Trouble | None:
        for number, one in enumerate(self.troubles):
            if re.search(one.on, line):
                del self.troubles[number]
                if one.times > 1:
                    left = {**one.__dict__, "times": one.times - 1}
                    self.troubles.insert(number, Trouble(**left))
                return one
        return None

    def knows(self, token: str | None) -> bool:
        """Tell whether the token is worth something, as a user's or as a service's."""
        if not self.identity:
            return token is not None
        known = range(self.revoked + 1, self.given + 1)
        return token in {f"{TOKEN}{number}" for number in known}

    def is_service(self, token: str | None) -> bool:
        return self.knows(token) and (not self.identity or "service" in self.roles)


class _Answers(BaseHTTPRequestHandler):
    cinder: Cinder
    lock: threading.Lock
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = f"{self.command} {self.path}"
        with self.lock:
            self.cinder.heard.append(line)
            trouble = self.cinder.trouble(line)
        if trouble is None:
            return self._send(*self._answer(asked))
        time.sleep(trouble.late)
        if trouble.done or not (trouble.status or trouble.cut):
            answer = self._answer(asked)
        if trouble.cut:
            self.close_connection = True
            return None
        if trouble.status:
            return self._send_text(trouble.status, trouble.body, trouble.headers)
        return self._send(*answer)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the library's names

    def _answer(self, asked: bytes) -> tuple[int, object, dict[str, str]]:
        body = json.loads(asked) if asked else {}
        parts = urlsplit(self.path)
        path, query = parts.path, dict(parse_qsl(parts.query))
        with self.lock:
            try:
                if path.startswith("/identity/v3"):
                    return self._identity(body)
                return self._volume(path, query, body)
            except RefusalError as error:
                return error.status, error.body, {}

    def _identity(self, body: Json) -> tuple[int, object, dict[str, str]]:
        if self.command == "GET":
            return 200, {"version": identity_version(self.cinder.url)}, {}
        how = body["auth"]["identity"]
        if "password" in how and how["password"]["user"]["password"] != PASSWORD:
            raise RefusalError(401, "The request you have made requires authentication.")
        self.cinder.given += 1
        token = f"{TOKEN}{self.cinder.given}"
        return (
            201,
            {"token": token_of(self.cinder.url, self.cinder.service_type, self.cinder.roles)},
            {"X-Subject-Token": token},
        )

    def _volume(
        self, path: str, query: dict[str, str], body: Json
    ) -> tuple[int, object, dict[str, str]]:
        token = self.headers.get("X-Auth-Token")
        if not self.cinder.knows(token):
            raise RefusalError(401, "The request you have made requires authentication.")
        if path.rstrip("/") == "/volume/v3":
            return 200, {"versions": [self.cinder.version()]}, {}
        before, _, rest = path.partition(f"/volume/v3/{PROJECT}/")
        if before or not rest:
            raise RefusalError(404, "The resource could not be found.")
        self.cinder.versions.append(self.headers.get("OpenStack-API-Version"))
        service = self.cinder.is_service(self.headers.get("X-Service-Token"))
        status, said = route(
            self.cinder.state, self.command, rest.split("/"), query, body, service=service
        )
        return status, said, {"x-openstack-request-id": "req-1"}

    def _send(self, status: int, body: object, headers: dict[str, str]) -> None:
        self._send_text(status, "" if body is None else json.dumps(body), headers)

    def _send_text(self, status: int, body: str, headers: dict[str, str]) -> None:
        text = body.encode()
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: ``heard`` has it."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up; anything else is seen by the client."""


@contextmanager
def served(context: ssl.SSLContext | None = None, *, port: int = 0) -> Iterator[Cinder]:
    """Lend a Cinder that answers below its ``url``; over TLS with a context."""
    cinder = Cinder()
    kind: dict[str, Any] = {"cinder": cinder, "lock": threading.Lock()}
    server = _Server(("127.0.0.1", port), type("Answers", (_Answers,), kind))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    cinder.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield cinder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
