"""Servers as a client of Nova makes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import delete, insert

from tests.api_rig import ApiRig, Json, Response
from tests.contract.api.callers import MEMBER, As
from worker.api.application import Application, Front
from worker.api.front.open_door import PROJECT
from worker.api.routes import ROUTES
from worker.errors import NoAnswer
from worker.model.ids import ImageId, new_uuid
from worker.model.image import Image
from worker.persistence.schema import LEASES, OPERATIONS
from worker.rpc.client import Client

SERVERS = "/v2.1/servers"


def image(api: ApiRig, **properties: str) -> ImageId:
    """Return an image of the rig's world."""
    found = ImageId(new_uuid())
    api.world.images[found] = Image(id=found, name="image", format="qcow2", properties=properties)
    return found


def wanted(api: ApiRig, **more: Any) -> Json:  # noqa: ANN401 - JSON
    """Return the body that asks for a server."""
    server = {"name": f"s-{new_uuid()[:8]}", "flavorRef": "1", "networks": "none"}
    if "imageRef" not in more and "block_device_mapping_v2" not in more:
        server["imageRef"] = image(api)
    return {"server": server | more}


def made(api: ApiRig, **more: Any) -> Response:  # noqa: ANN401 - JSON
    """Ask for a server, and return the answer once its build has ended."""
    answer = api.ask("POST", SERVERS, wanted(api, **more))
    assert answer.status == 202, answer.body
    assert api.end_of(answer)["state"] == "succeeded"
    return answer


def a_server(api: ApiRig, **more: Any) -> str:  # noqa: ANN401 - JSON
    """Return a server that runs."""
    return str(made(api, **more).body["server"]["id"])


def failed_build(api: ApiRig) -> str:
    """Return a server whose image turned out to be none."""
    answer = api.ask("POST", SERVERS, wanted(api, imageRef=image(api, evil="yes")))
    assert api.end_of(answer)["state"] == "failed"
    return str(answer.body["server"]["id"])


def shown(api: ApiRig, server: str, version: str = "2.101") -> Json:
    answer = api.ask("GET", f"{SERVERS}/{server}", version=version)
    assert answer.status == 200, answer.body
    found: Json = answer.body["server"]
    return found


def listed(api: ApiRig, query: str = "", what: str = "/detail") -> list[Json]:
    answer = api.ask("GET", SERVERS + what, query=query)
    assert answer.status == 200, answer.body
    found: list[Json] = answer.body["servers"]
    return found


def ids(found: list[Json]) -> list[str]:
    return [each["id"] for each in found]


def act(api: ApiRig, server: str, action: str, value: object = None, **more: Any) -> Response:  # noqa: ANN401
    """Ask for an action; one that was accepted has ended when this returns."""
    answer = api.ask("POST", f"{SERVERS}/{server}/action", {action: value}, **more)
    if answer.status < 300:
        ended = api.end_of(answer)
        assert ended["state"] == "succeeded", ended["fault"]
    return answer


@contextmanager
def accepted_elsewhere(api: ApiRig, name: str = "coming", project: str = PROJECT) -> Iterator[str]:
    """Have a build in the journal of a host whose worker has not begun it; yield its server."""
    host, server = f"host-{new_uuid()}", new_uuid()
    now = datetime.now(UTC)
    lease = {"host": host, "owner": "o", "state_folder": new_uuid()}
    arguments = {
        "instance_uuid": server,
        "name": name,
        "vcpus": 1,
        "memory_mb": 256,
        "image_ref": image(api),
        "project_id": project,
        "user_id": "u",
    }
    operation = {
        "id": new_uuid(),
        "host": host,
        "method": "build_instance",
        "arguments": arguments,
        "lane": server,
        "instance_uuid": server,
        "state": "queued",
        "accepted_at": now,
    }
    # Its lease has just ended: nothing else is to be built there.
    leased = insert(LEASES).values(**lease, expires_at=now - timedelta(seconds=1))
    api.database.write(lambda each: each.execute(leased))
    api.database.write(lambda each: each.execute(insert(OPERATIONS).values(**operation)))
    yield server
    gone = [delete(table).where(table.c.host == host) for table in (OPERATIONS, LEASES)]
    api.database.write(lambda each: [each.execute(statement) for statement in gone])


class Silent(Client):
    """A worker's answers get lost: what is called happens, or with ``deaf`` does not.

    With ``late`` it happens just before what is cast next.
    """

    def __init__(self, real: Client, *, deaf: bool) -> None:
        self.real = real
        self.deaf = deaf
        self.late = False
        self.cast_since: list[str] = []
        self.cast_ids: list[str] = []

    def call(self, host: str, method: str, **arguments: Any) -> Any:  # noqa: ANN401
        self.called = partial(self.real.call, host, method, **arguments)
        if not self.deaf:
            self.called()
        raise NoAnswer(f"the worker on {host} did not answer {method}")

    def cast(self, host: str, method: str, **arguments: Any) -> str:  # noqa: ANN401
        if self.late:
            self.called()
        self.cast_since.append(method)
        self.cast_ids.append(self.real.cast(host, method, **arguments))
        return self.cast_ids[-1]


def not_answered(api: ApiRig, *, deaf: bool) -> tuple[ApiRig, Silent]:
    """Return the rig with a worker whose answers get lost."""
    silent = Silent(api.client, deaf=deaf)
    services = replace(api.services, workers=silent)
    front = Front(door=As(MEMBER))
    return replace(api, services=services, application=Application(ROUTES, services, front)), silent
