"""A Keystone that knows the tokens it is given, as Keystone v3 answers keystonemiddleware."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

OWN = "the-token-of-the-middleware-itself"


@dataclass(kw_only=True)
class Keystone:
    """Its address, whom it knows, and what it was asked; ``broken`` answers 500, without
    ``account`` the API itself is refused, one that is not ``listed`` is in no catalogue."""

    port: int
    tokens: dict[str, Json] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: bool = False
    account: bool = True
    listed: bool = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v3"

    def options(self) -> str:
        """Return the group of the configuration that leads here."""
        lines = [
            "[keystone_authtoken]",
            "auth_type = password",
            f"auth_url = {self.url}",
            f"www_authenticate_uri = {self.url}",
            "username = api",
            "password = secret of the api",
            "project_name = service",
            "user_domain_name = Default",
            "project_domain_name = Default",
            "token_cache_time = -1",
            "http_request_max_retries = 0",
            "http_connect_timeout = 5",
        ]
        return "\n".join(lines)

    def know(self, token: str, *, lasts: float = 3600.0, **of: Any) -> str:  # noqa: ANN401
        """Take a token for one of that user, project and roles."""
        self.tokens[token] = token_body(lasts=lasts, **of)
        return token


def token_body(
    *, user: str, project: str, roles: tuple[str, ...], lasts: float, url: str = ""
) -> Json:
    """Return what Keystone says of a token."""
    domain = {"id": "default", "name": "Default"}
    now = datetime.now(UTC)
    endpoints = [
        {"interface": each, "region": "r", "region_id": "r", "id": each, "url": url}
        for each in ("admin", "internal", "public")
    ]
    return {
        "token": {
            "methods": ["password"],
            "issued_at": f"{now:%Y-%m-%dT%H:%M:%S.000000Z}",
            "expires_at": f"{now + timedelta(seconds=lasts):%Y-%m-%dT%H:%M:%S.000000Z}",
            "user": {"id": user, "name": user, "domain": domain},
            "project": {"id": project, "name": project, "domain": domain},
            "roles": [{"id": role, "name": role} for role in roles],
            "catalog": [{"type": "identity", "name": "k", "id": "k", "endpoints": endpoints}],
            "audit_ids": ["a"],
        }
    }


class _Server(ThreadingHTTPServer):
    keystone: Keystone


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        keystone = self.server.keystone
        if keystone.broken:
            self._answer(500, {"error": {"code": 500, "message": "broken", "title": "?"}})
        elif self.path.startswith("/v3/auth/tokens"):
            self._validate(keystone)
        else:
            self._answer(200, {"version": _version(keystone)})

    def do_POST(self) -> None:
        keystone = self.server.keystone
        self.rfile.read(int(self.headers["Content-Length"]))
        body = token_body(
            user="api", project="service", roles=("service",), lasts=3600, url=keystone.url
        )
        if keystone.broken or not keystone.account:
            status = 500 if keystone.broken else 401
            self._answer(status, {"error": {"code": status, "message": "no", "title": "?"}})
        else:
            if not keystone.listed:
                body["token"]["catalog"] = []
            self._answer(201, body, OWN)

    def _validate(self, keystone: Keystone) -> None:
        subject = self.headers["X-Subject-Token"]
        keystone.asked.append(subject)
        found = keystone.tokens.get(subject)
        if self.headers["X-Auth-Token"] != OWN:
            self._answer(401, {"error": {"code": 401, "message": "who?", "title": "?"}})
        elif found is None or self._expired(found):
            self._answer(404, {"error": {"code": 404, "message": "none", "title": "?"}})
        else:
            self._answer(200, found, subject)

    def _expired(self, found: Json) -> bool:
        until = datetime.fromisoformat(found["token"]["expires_at"])
        return until < datetime.now(UTC) and "allow_expired" not in self.path

    def _answer(self, status: int, body: Json, token: str | None = None) -> None:
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        if token is not None:
            self.send_header("X-Subject-Token", token)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_said: object) -> None:
        """Say nothing."""


def _version(keystone: Keystone) -> Json:
    links = [{"rel": "self", "href": keystone.url}]
    return {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": links}


@contextmanager
def keystone_server() -> Iterator[Keystone]:
    """Run one on loopback."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.keystone = Keystone(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.keystone
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
