"""A Keystone and a Nova, as far as Cinder and its clients ask them: in this process, in memory.

Cinder itself checks tokens here by its own middleware, as it does in a cloud. Nova is asked one
thing: whether a server has an attachment, before Cinder lets somebody who is no service delete it.
"""

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from keystoneauth1.identity import v3
from keystoneauth1.session import Session

Json = dict[str, Any]

PASSWORD = "planted-keystone-password-8d21"

DOMAIN = {"id": "default", "name": "Default"}

REGION = "RegionOne"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who may ask for a token: one for one project."""

    name: str
    project: str
    roles: tuple[str, ...]


USERS = {
    user.name: user
    for user in (
        User(name="alice", project="demo", roles=("member", "reader")),
        User(name="root", project="admin", roles=("admin", "member", "reader")),
        User(name="worker", project="service", roles=("admin", "service")),
    )
}
"""``alice`` has volumes, ``worker`` is a compute host's account."""


@dataclass
class Identity:
    """What the server knows and has heard; ``cinder`` is where the volume service is.

    ``compute`` is where a Nova is, or who answers in its place; without it the one in here does.
    """

    url: str = ""
    cinder: str = ""
    compute: str = ""
    tokens: dict[str, Json] = field(default_factory=dict)
    servers: dict[tuple[str, str], str] = field(default_factory=dict)
    """By server and volume, the attachment that Nova says there is."""
    heard: list[str] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)

    @property
    def auth_url(self) -> str:
        return f"{self.url}/v3"

    def login(self, name: str) -> v3.Password:
        """Return how that user gets a token."""
        return v3.Password(
            auth_url=self.auth_url,
            username=name,
            password=PASSWORD,
            user_domain_id=DOMAIN["id"],
            project_name=USERS[name].project,
            project_domain_id=DOMAIN["id"],
        )

    def session(self, name: str) -> Session:
        """Return that user's session, logged in once."""
        if name not in self.sessions:
            self.sessions[name] = Session(auth=self.login(name))
        return self.sessions[name]

    def project_id(self, name: str) -> str:
        return _id("project", USERS[name].project)

    def forget_tokens(self) -> None:
        """Have every token that was given be no good any more."""
        self.tokens.clear()

    def issue(self, asked: Json) -> tuple[str, Json] | None:
        """Return a token for who knows the password, or has a token already."""
        how = asked["auth"]["identity"]
        given = how.get("password", {}).get("user", {})
        had = self.tokens.get(how.get("token", {}).get("id", ""))
        name = given.get("name") if given.get("password") == PASSWORD else None
        if had is not None:
            name = had["user"]["name"]
        if name not in USERS:
            return None
        token = uuid.uuid4().hex
        self.tokens[token] = self._told(USERS[name])
        return token, self.tokens[token]

    def _told(self, user: User) -> Json:
        now = datetime.now(UTC)
        project = _id("project", user.project)
        return {
            "methods": ["password"],
            "user": {"id": _id("user", user.name), "name": user.name, "domain": DOMAIN},
            "project": {"id": project, "name": user.project, "domain": DOMAIN},
            "roles": [{"id": _id("role", role), "name": role} for role in user.roles],
            "issued_at": _written(now),
            "expires_at": _written(now + timedelta(hours=1)),
            "audit_ids": [uuid.uuid4().hex],
            "is_domain": False,
            "catalog": self._catalog(project),
        }

    def _catalog(self, project: str) -> list[Json]:
        places = {
            "identity": self.auth_url,
            "compute": self.compute or f"{self.url}/compute/v2.1",
            "block-storage": f"{self.cinder}/v3/{project}",
        }
        return [
            {
                "id": _id("service", kind),
                "type": kind,
                "name": kind,
                "endpoints": [
                    {
                        "id": _id("endpoint", f"{kind} {interface}"),
                        "interface": interface,
                        "region": REGION,
                        "region_id": REGION,
                        "url": url,
                    }
                    for interface in ("public", "internal", "admin")
                ],
            }
            for kind, url in places.items()
        ]


class _Answers(BaseHTTPRequestHandler):
    identity: Identity
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.identity.heard.append(f"GET {self.path}")
        match urlsplit(self.path).path.rstrip("/").split("/")[1:]:
            case [] | ["v3"]:
                version = {
                    "id": "v3.14",
                    "status": "stable",
                    "links": [{"rel": "self", "href": self.identity.auth_url}],
                }
                self._send(200, {"version": version})
            case ["v3", "auth", "tokens"]:
                self._validate(self.headers.get("X-Subject-Token", ""))
            case ["compute", "v2.1", "servers", server, "os-volume_attachments", volume]:
                self._attachment(server, volume)
            case ["compute", *_]:
                self._send(200, {"version": self._compute()})
            case _:
                self._send(404, {"error": {"message": self.path, "code": 404}})

    def do_POST(self) -> None:
        self.identity.heard.append(f"POST {self.path}")
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/compute"):
            events = [{**event, "status": "completed", "code": 200} for event in asked["events"]]
            return self._send(200, {"events": events})
        issued = self.identity.issue(asked)
        if issued is None:
            return self._send(401, {"error": {"message": "who are you?", "code": 401}})
        return self._send(201, {"token": issued[1]}, {"X-Subject-Token": issued[0]})

    def _validate(self, token: str) -> None:
        found = self.identity.tokens.get(token)
        if self.headers.get("X-Auth-Token") not in self.identity.tokens:
            return self._send(401, {"error": {"message": "who asks?", "code": 401}})
        if found is None:
            return self._send(404, {"error": {"message": "no such token", "code": 404}})
        return self._send(200, {"token": found}, {"X-Subject-Token": token})

    def _attachment(self, server: str, volume: str) -> None:
        found = self.identity.servers.get((server, volume))
        if found is None:
            return self._send(404, {"itemNotFound": {"message": "none", "code": 404}})
        said = {"volumeId": volume, "serverId": server, "attachment_id": found, "bdm_uuid": found}
        return self._send(200, {"volumeAttachment": said})

    def _compute(self) -> Json:
        return {
            "id": "v2.1",
            "status": "CURRENT",
            "version": "2.96",
            "min_version": "2.1",
            "links": [{"rel": "self", "href": f"{self.identity.url}/compute/v2.1/"}],
        }

    def _send(self, status: int, said: Json, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_said: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Say nothing."""


def _id(kind: str, name: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{kind} {name}").hex


def _written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextmanager
def identity_server() -> Iterator[Identity]:
    """Serve until the block ends."""
    identity = Identity()
    answers = type("Answers", (_Answers,), {"identity": identity})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    server.daemon_threads = True
    identity.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield identity
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
