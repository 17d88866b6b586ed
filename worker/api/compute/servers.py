"""Servers: listed, shown, made and taken away."""

from collections.abc import Collection, Mapping, Sequence

from worker.api.asked import OPERATION, Answer, Asked, Json, Refused, accepted
from worker.api.beginning import begin
from worker.api.compute import creating
from worker.api.compute.listing import Page, next_link, page_of
from worker.api.compute.server_view import Sight, brief, detailed, links, unlisted
from worker.api.compute.server_words import hostname_of
from worker.api.compute.standing import Standing, fault_of, standing_of
from worker.api.offers import Flavor
from worker.api.route import From, Route
from worker.api.schemas import server_bodies as bodies
from worker.api.schemas import servers as schemas
from worker.api.services import Services
from worker.errors import InstanceWrongState
from worker.model.block_device import BlockDevice
from worker.model.ids import InstanceId, OperationId
from worker.model.instance import TaskState

_RULE = "os_compute_api:servers:"
_EXTENDED = "os_compute_api:os-extended-server-attributes"
_HOST_STATUS = _RULE + "show:host_status"


def index(asked: Asked, services: Services) -> Answer:
    """List servers, by id and name."""
    page = page_of(asked, services, what="index")
    shown = [brief(each.server, asked) for each in page.standings]
    return Answer(body={"servers": shown} | next_link(page, asked, "/v2.1/servers"))


def detail(asked: Asked, services: Services) -> Answer:
    """List servers, with all that is known of them."""
    page = page_of(asked, services, what="detail")
    shown = [detailed(each, asked) for each in _sights(page, asked, services)]
    return Answer(body={"servers": shown} | next_link(page, asked, "/v2.1/servers/detail"))


def show(asked: Asked, services: Services) -> Answer:
    """Show a server: one that is built without a row too, and one whose build has failed."""
    return Answer(body={"server": _whole(standing_of(asked, services), asked, services)})


def create(asked: Asked, services: Services) -> Answer:
    """Have a server built."""
    build = creating.create(asked, services)
    server: Json = {
        "id": build.instance,
        "links": links(asked, "servers", build.instance),
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": asked.body["server"].get("security_groups") or [{"name": "default"}],
    }
    headers = {OPERATION: build.operation, "Location": server["links"][0]["href"]}
    return Answer(status=202, body={"server": server}, headers=headers)


def update(asked: Asked, services: Services) -> Answer:
    """Show a server: of what can be updated it has nothing, and says so."""
    standing = standing_of(asked, services)
    name = standing.instance.name
    kept = {"name": name, "hostname": hostname_of(name), "OS-DCF:diskConfig": "MANUAL"}
    for field, value in asked.body["server"].items():
        if value not in (None, "", kept.get(field)):
            message = f"{field} of a server is not changed here; leave it as it is"
            raise Refused(400, message)
    return Answer(body={"server": _whole(standing, asked, services)})


def delete(asked: Asked, services: Services) -> Answer:
    """Have a server destroyed, or what a failed build has left to be shown of it."""
    return accepted(destroy(asked, services), status=204)


def destroy(asked: Asked, services: Services) -> OperationId:
    """Have the server's worker begin its end; return the operation."""
    instance = standing_of(asked, services).instance
    if instance.task_state == TaskState.RELEASED:
        message = f"server {instance.uuid} was released to another host; forget it there instead"
        raise InstanceWrongState(message)
    return begin(instance, "destroy_instance", asked, services)


def _whole(standing: Standing, asked: Asked, services: Services) -> Json:
    page = Page(standings=(standing,), more=False)
    (sight,) = _sights(page, asked, services)
    shown = detailed(sight, asked)
    return shown | ({"server_groups": []} if asked.at_least(71) else {})


def _sights(page: Page, asked: Asked, services: Services) -> Sequence[Sight]:
    """Return what the caller may see of each."""
    devices = _devices(page, services)
    extended = _may(_EXTENDED, asked, services)
    living = _living(asked, services)
    return [
        Sight(
            server=each.server,
            flavor=_flavor(each, devices.get(each.instance.uuid, ()), services),
            devices=devices.get(each.instance.uuid, ()),
            fault=fault_of(each, services),
            extended=extended,
            host_up=None if living is None else each.instance.host in living,
            launched=not each.rowless,
        )
        for each in page.standings
    ]


def _devices(page: Page, services: Services) -> Mapping[InstanceId, tuple[BlockDevice, ...]]:
    there = [each.instance.uuid for each in page.standings if not each.rowless]
    return services.fleet.devices_of(there) if there else {}


def _flavor(standing: Standing, devices: Sequence[BlockDevice], services: Services) -> Flavor:
    made_as = standing.instance.specification
    if made_as is None:
        return unlisted("adopted")
    root = next((row.volume_size for row in devices if row.boot_index == 0), None)
    return services.offers.flavor_of(made_as, root or 0)


def _living(asked: Asked, services: Services) -> Collection[str] | None:
    """Return the hosts whose worker lives; None for who may not know."""
    if not asked.at_least(16) or not _may(_HOST_STATUS, asked, services):
        return None
    return {host.name for host in services.fleet.living(services.clock())}


def _may(rule: str, asked: Asked, services: Services) -> bool:
    return services.policy.allows(rule, asked.who, asked.who.owner)


_ALL = "/v2.1/servers"
_DETAIL = "/v2.1/servers/detail"
_ONE = "/v2.1/servers/{server_id}"
_QUERY = (From(schema=schemas.QUERY, minor=1), From(schema=schemas.QUERY_275, minor=75))

ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        act=index,
        does="List servers",
        rule=_RULE + "index",
        query=_QUERY,
        answers={200: schemas.LISTED},
    ),
    Route(
        method="POST",
        path=_ALL,
        act=create,
        does="Create a server",
        rule=_RULE + "create",
        body=bodies.CREATE,
        answers={202: schemas.CREATED},
    ),
    Route(
        method="GET",
        path=_DETAIL,
        act=detail,
        does="List servers with details",
        rule=_RULE + "detail",
        query=_QUERY,
        answers={200: schemas.LISTED},
    ),
    Route(
        method="GET",
        path=_ONE,
        act=show,
        does="Show a server",
        rule=_RULE + "show",
        answers={200: schemas.ONE},
    ),
    Route(
        method="PUT",
        path=_ONE,
        act=update,
        does="Update a server",
        rule=_RULE + "update",
        body=bodies.UPDATE,
        answers={200: schemas.ONE},
    ),
    Route(
        method="DELETE",
        path=_ONE,
        act=delete,
        does="Delete a server",
        rule=_RULE + "delete",
        answers={204: None},
    ),
)
