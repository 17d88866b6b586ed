"""The API behind its web server, and a client that listens."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from tests.api_rig import ApiRig
from worker.api.application import Application
from worker.api.asked import Who
from worker.api.front.open_door import ANYBODY
from worker.api.front.server import WebServer
from worker.api.routes import ROUTES
from worker.api.streams.hub import Hear, Hearing
from worker.api.streams.opening import Streams
from worker.errors import BrokerUnavailable
from worker.persistence.fleet import Fleet, FleetUpdates
from worker.wiring.api import make_front

PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event, or a comment alone."""

    name: str = ""
    id: str = ""
    data: Any = None
    comment: str = ""

    @property
    def number(self) -> int:
        return int(self.data["sequence"])


class Listener(Iterator[Event]):
    """A client with a stream open."""

    def __init__(self, port: int, path: str, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._connection.request("GET", path, headers=dict(headers))
        self.response = self._connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self.response.close()
        self._connection.close()

    def __next__(self) -> Event:
        lines = []
        while line := self.response.readline().decode().rstrip("\n"):
            lines.append(line)
        if not lines:
            raise StopIteration
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        if "event" not in fields:
            return Event(comment="".join(line[2:] for line in lines if line.startswith(": ")))
        data = json.loads(fields["data"])
        return Event(name=fields["event"], id=fields.get("id", ""), data=data)

    def updates(self) -> Iterator[Event]:
        """Yield what is no comment; comments alone are none for long."""
        latest = time.monotonic() + PATIENCE
        for event in self:
            assert time.monotonic() < latest, "no update came"
            if event.name:
                yield event
                latest = time.monotonic() + PATIENCE

    def comments(self) -> Iterator[str]:
        """Yield what is no update."""
        return (event.comment for event in self if event.comment)


@dataclass(kw_only=True)
class Served:
    """An API at a port."""

    rig: ApiRig
    port: int
    streams: Streams
    headers: dict[str, str] = field(default_factory=dict)

    def listen(self, path: str, **headers: str) -> Listener:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Listener(self.port, path, self.headers | named)

    def get(self, path: str) -> tuple[int, Any]:
        """Ask once, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers=self.headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


class DoorOf:
    """Takes everybody for one."""

    def __init__(self, who: Who) -> None:
        self._who = who

    def identify(self, _environ: Mapping[str, Any]) -> Who:
        return self._who


def member_of(project: str) -> Who:
    """Return somebody who is no administrator."""
    return Who(user_id="somebody", project_id=project, roles=frozenset({"member", "reader"}))


@contextmanager
def served(
    rig: ApiRig,
    *,
    streams: int = 4,
    threads: int = 2,
    heartbeat: float = 15.0,
    hear: Hear | None = None,
    who: Who = ANYBODY,
) -> Iterator[Served]:
    """Serve the rig's API as the service does, its threads and its streams."""
    opener = Streams(
        hear or rig.client.updates,
        Fleet(rig.database),
        FleetUpdates(rig.database),
        most=streams,
        heartbeat=heartbeat,
    )
    services = replace(rig.services, streams=opener)
    application = Application(ROUTES, services, replace(make_front(rig.conf), door=DoorOf(who)))
    server = WebServer(application, ("127.0.0.1", 0), threads=threads + opener.most)
    with ExitStack() as stack:
        port = server.start()
        stack.callback(server.stop)
        stack.callback(opener.stop)
        yield Served(rig=rig, port=port, streams=opener)


class Unsteady:
    """A hearing of the real bus that can be cut: what is told meanwhile, it never hears."""

    def __init__(self, rig: ApiRig) -> None:
        self._rig = rig
        self._stack = ExitStack()
        self._real: Hearing | None = None
        self.cut = False
        self.deaf = False
        self.dropped = 0
        self.bindings = 0

    def __call__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        if self.cut:
            raise BrokerUnavailable("the message broker does not answer")
        self._real = self._stack.enter_context(self._rig.client.updates())
        self.bindings += 1
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def mend(self) -> None:
        self.cut = False
        self.bindings += 1

    @property
    def connected(self) -> bool:
        return not self.cut

    def wait(self, seconds: float) -> dict[str, Any] | None:
        assert self._real is not None
        heard = self._real.wait(seconds)
        if heard is not None and (self.cut or self.deaf):
            self.dropped += 1
            return None
        return heard


def asking(rig: ApiRig, who: Who) -> ApiRig:
    """Return the rig as somebody else sees it."""
    front = replace(make_front(rig.conf), door=DoorOf(who))
    return replace(rig, application=Application(ROUTES, rig.services, front))
