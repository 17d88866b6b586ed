"""The API on loopback over a worker whose world answers at once, and Nova's clients on it."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from tests.api_rig import ApiRig, api_rig
from tests.clients import Cloud, Recording, cloud
from worker.api.front.server import WebServer
from worker.api.front.token_file import TokenFile
from worker.model.ids import ImageId, new_uuid
from worker.model.image import Image
from worker.model.operation import OperationState
from worker.persistence.schema import OPERATIONS

ROOT = ImageId(new_uuid())
RESCUED_ON = {"hw_rescue_bus": "virtio"}
VERSIONS = re.compile(r"GET /(v2\.1|v2|v3|identity/v3)?/?$|POST /identity/v3/auth/tokens$")
NEWER = "2.96"
SOON = 30.0

Json = dict[str, Any]


@dataclass(kw_only=True)
class Site:
    """An API on loopback, what it has heard, and the clients."""

    rig: ApiRig
    heard: Recording
    clients: Cloud
    known: dict[str, str] = field(default_factory=dict)

    def settle(self) -> None:
        """Wait until the worker has nothing to do."""
        unended = [state.value for state in OperationState if not state.ended]
        open_ = select(func.count()).where(OPERATIONS.c.state.in_(unended))
        until(lambda: self.rig.database.read(lambda each: each.execute(open_).scalar()), 0)

    def asked(self) -> list[str]:
        """Return what was asked for since the last time, but for the versions."""
        lines = [request.line for request in self.heard.heard]
        self.heard.heard.clear()
        return [line for line in lines if not VERSIONS.match(line)]

    def named(self, text: str) -> str:
        """Put the ids in the places of their names."""
        return re.sub("|".join(self.known), lambda found: self.known[found[0]], text)


def until(look: Callable[[], Any], wanted: object) -> None:
    deadline = time.monotonic() + SOON
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"{seen} is not {wanted}"
        time.sleep(0.02)


@contextmanager
def site_of(folder: Path, auth: str) -> Iterator[Site]:
    with ExitStack() as stack:
        rig = stack.enter_context(api_rig(folder / "state", api__auth=auth))
        rig.world.images[ROOT] = Image(id=ROOT, name="root", format="raw", properties=RESCUED_ON)
        heard = Recording(application=rig.application)
        server = WebServer(heard, ("127.0.0.1", 0), threads=4)
        url = f"http://127.0.0.1:{server.start()}"
        stack.callback(server.stop)
        tokens = TokenFile(folder / "state" / "api-tokens")
        token = tokens.lines()[0].token if auth == "token" else None
        clients = stack.enter_context(cloud(url, folder, token))
        yield Site(rig=rig, heard=heard, clients=clients)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A server and a volume that nobody has."""

    server: str
    volume: str


def new_pair(site: Site) -> Pair:
    """Return a server, and a volume that is made by a client."""
    volume = site.clients.asked("volume", "create", "--size", "1", f"data-{new_uuid()[:8]}")
    site.settle()
    return Pair(server=site.rig.server(), volume=str(volume["id"]))
