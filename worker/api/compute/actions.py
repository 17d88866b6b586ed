"""Actions on a server: off and on, rescue and back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from worker.api.asked import Answer, Asked, Refused
from worker.api.compute.attachments import OPERATION
from worker.api.compute.rescuing import rescued
from worker.api.compute.servers import destroyed
from worker.api.compute.standing import Standing, standing_of
from worker.api.compute.taken_from import check_takes
from worker.api.route import From, Route
from worker.api.schemas import actions as schemas
from worker.api.services import Services
from worker.model.ids import new_uuid

_PREFIX = "os_compute_api:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action: the rule that it goes by, and what carries it out."""

    rule: str
    act: Callable[[Asked, Services], Answer]


def act(asked: Asked, services: Services) -> Answer:
    """Do the one thing that the body names."""
    (name,) = asked.body
    action = ACTIONS.get(name)
    if action is None:
        known = ", ".join(ACTIONS)
        raise Refused(400, f"There is no such action: {name[:200]}. Here are: {known}")
    return action.act(replace(asked, rule=_PREFIX + action.rule), services)


def start(asked: Asked, services: Services) -> Answer:
    """Start a server that is off."""
    standing = standing_of(asked, services)
    check_takes("start", standing.instance)
    return _begun(standing, asked, services, "start_instance")


def stop(asked: Asked, services: Services) -> Answer:
    """Have a server off; its guest is asked first."""
    standing = standing_of(asked, services)
    check_takes("stop", standing.instance)
    return _begun(standing, asked, services, "stop_instance", clean_shutdown=True)


def reboot(asked: Asked, services: Services) -> Answer:
    """Start a server anew: SOFT, or HARD, without asking its guest."""
    standing = standing_of(asked, services)
    hard = asked.body["reboot"]["type"].upper() == "HARD"
    check_takes("reboot_hard" if hard else "reboot", standing.instance)
    return _begun(standing, asked, services, "reboot_instance", hard=hard)


def rescue(asked: Asked, services: Services) -> Answer:
    """Boot a server from a rescue image."""
    standing = standing_of(asked, services)
    check_takes("rescue", standing.instance)
    begun = rescued(standing, asked, services)
    body = {} if begun.password is None else {"adminPass": begun.password}
    return Answer(body=body, headers={OPERATION: begun.operation})


def unrescue(asked: Asked, services: Services) -> Answer:
    """Have a server be what it was before its rescue."""
    standing = standing_of(asked, services)
    check_takes("unrescue", standing.instance)
    return _begun(standing, asked, services, "unrescue_instance")


def force_delete(asked: Asked, services: Services) -> Answer:
    """Delete a server, as DELETE does: there is no softer way here."""
    return Answer(status=202, headers={OPERATION: destroyed(asked, services)})


def _begun(
    standing: Standing,
    asked: Asked,
    services: Services,
    method: str,
    **arguments: Any,  # noqa: ANN401 - plain JSON
) -> Answer:
    operation = new_uuid()
    services.workers.call(
        standing.instance.host,
        method,
        request_id=asked.request_id,
        operation_id=operation,
        instance_uuid=standing.instance.uuid,
        **arguments,
    )
    return Answer(status=202, headers={OPERATION: operation})


ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "os-start": Action(rule="servers:start", act=start),
        "os-stop": Action(rule="servers:stop", act=stop),
        "reboot": Action(rule="servers:reboot", act=reboot),
        "rescue": Action(rule="os-rescue", act=rescue),
        "unrescue": Action(rule="os-unrescue", act=unrescue),
        "forceDelete": Action(rule="os-deferred-delete:force", act=force_delete),
    }
)

ROUTES = (
    Route(
        method="POST",
        path="/v2.1/servers/{server_id}/action",
        act=act,
        does="Start, stop, reboot, rescue, unrescue or delete a server",
        rule="os_compute_api:servers:show",
        body=(From(schema=schemas.ACTION, minor=1),),
        answers={200: schemas.RESCUED, 202: None},
    ),
)
