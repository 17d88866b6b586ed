"""As much of Vault's API as castellan's driver asks for: logging in, and a KV store, version 2."""

import binascii
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

ROLE, TOKEN = "worker-role", "worker-token-7391"


@dataclass(kw_only=True)
class Vault:
    """Keys by id; with a ``status`` it answers nothing else."""

    url: str
    keys: dict[str, bytes] = field(default_factory=dict)
    status: int | None = None
    silent: Event = field(default_factory=Event)
    awake: Event = field(default_factory=Event)
    logins: int = 0

    def answer(self, path: str, token: str | None) -> tuple[int, object]:
        if self.silent.is_set():
            self.awake.wait(20)
        if self.status is not None:
            return self.status, {"errors": ["told to"]}
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        found = self.keys.get(path.rpartition("/")[2])
        if not path.startswith("/v1/secret/data/") or found is None:
            return 404, {"errors": []}
        record = {
            "type": "symmetric",
            "value": binascii.hexlify(found).decode(),
            "algorithm": "AES",
            "bit_length": len(found) * 8,
            "name": None,
            "created": 1,
        }
        return 200, {"data": {"data": record}}

    def log_in(self, said: dict[str, str]) -> tuple[int, object]:
        self.logins += 1
        if said.get("role_id") != ROLE:
            return 400, {"errors": ["invalid role"]}
        return 200, {"auth": {"client_token": TOKEN, "lease_duration": 3600}}


@contextmanager
def vault() -> Iterator[Vault]:
    """Serve one on a port of its own until the block ends."""
    state = Vault(url="")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(*state.answer(self.path, self.headers.get("X-Vault-Token")))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self._say(*state.log_in(json.loads(body)))

        def _say(self, status: int, what: object) -> None:
            body = json.dumps(what).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
