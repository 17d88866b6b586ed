"""A Glance and a Keystone, as far as openstacksdk asks them: on a port of this host, in memory."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "planted-token-5c1e"
PASSWORD = "planted-password-77ab"


@dataclass
class Glance:
    """What the server has, and what it has heard.

    ``down`` answers 503; ``breaks_off`` closes the connection in mid-image, and ``stalls`` leaves
    it open there; ``identity`` asks for a token.
    """

    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    members: set[tuple[str, str]] = field(default_factory=set)
    identity: bool = False
    down: bool = False
    breaks_off: bool = False
    stalls: bool = False
    half_sent: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    heard: list[str] = field(default_factory=list)
    url: str = ""

    def downloads(self) -> int:
        return sum(line.endswith("/file") for line in self.heard)


class _Answers(BaseHTTPRequestHandler):
    glance: Glance
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.glance.heard.append(f"GET {self.path}")
        if self.glance.down:
            return self._send(503, {"error": "away"})
        if self.path == "/v3":
            return self._send(200, {"version": self._identity_version()})
        if self.path in ("/", "/v2", "/v2/"):
            return self._send(200 if self.path != "/" else 300, {"versions": [self._version()]})
        if self.glance.identity and self.headers.get("X-Auth-Token") != TOKEN:
            return self._send(401, {"error": "who are you?"})
        return self._image(*self.path.removeprefix("/v2/images/").split("/"))

    def do_POST(self) -> None:
        self.glance.heard.append(f"POST {self.path}")
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        how = asked["auth"]["identity"]
        given = how.get("password", {}).get("user", {}).get("password") or how["token"]["id"]
        if given not in (PASSWORD, TOKEN):
            return self._send(401, {"error": {"message": "no", "code": 401}})
        return self._send(201, {"token": self._token()}, {"X-Subject-Token": TOKEN})

    def _image(self, image: str, *rest: str) -> None:
        if image not in self.glance.images:
            return self._send(404, {"error": "no such image"})
        if not rest:
            return self._send(200, self.glance.images[image])
        if rest[0] == "members":
            known = (image, rest[1]) in self.glance.members
            return self._send(200 if known else 404, {"member_id": rest[1]})
        if self.glance.images[image].get("deactivated"):
            return self._send(403, {"error": "deactivated"})
        return self._file(self.glance.contents[image])

    def _file(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.glance.breaks_off:
            self.close_connection = True
            content = content[: len(content) // 2]
        if self.glance.stalls:
            half, content = content[: len(content) // 2], content[len(content) // 2 :]
            self.wfile.write(half)
            self.wfile.flush()
            self.glance.half_sent.set()
            self.glance.go_on.wait()
        with suppress(ConnectionError):
            self.wfile.write(content)

    def _send(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _version(self) -> dict[str, Any]:
        link = {"rel": "self", "href": f"{self.glance.url}/v2/"}
        return {"id": "v2.9", "status": "CURRENT", "links": [link]}

    def _identity_version(self) -> dict[str, Any]:
        link = {"rel": "self", "href": f"{self.glance.url}/v3"}
        return {"id": "v3.14", "status": "stable", "links": [link], "media-types": []}

    def _token(self) -> dict[str, Any]:
        endpoint = {
            "interface": "public",
            "region": "one",
            "region_id": "one",
            "id": "e",
            "url": self.glance.url,
        }
        return {
            "methods": ["password"],
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "issued_at": "2020-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": "worker", "domain": {"id": "d", "name": "Default"}},
            "project": {"id": "p", "name": "service", "domain": {"id": "d", "name": "Default"}},
            "roles": [],
            "catalog": [{"type": "image", "name": "glance", "id": "g", "endpoints": [endpoint]}],
        }

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: ``heard`` has it."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that are killed; anything else is seen by the client."""


@contextmanager
def served() -> Iterator[Glance]:
    """Lend a Glance that answers at its ``url``."""
    glance = Glance()
    server = _Server(("127.0.0.1", 0), type("Answers", (_Answers,), {"glance": glance}))
    glance.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield glance
    finally:
        glance.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
