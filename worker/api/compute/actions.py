"""Actions on a server: off and on, rescue and back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from worker.api.asked import Answer, Asked, Refused, accepted
from worker.api.beginning import begin
from worker.api.compute.rescuing import begin_rescue
from worker.api.compute.servers import destroy
from worker.api.compute.standing import standing_of
from worker.api.compute.taken_from import check_takes
from worker.api.route import From, Route
from worker.api.schemas import actions as schemas
from worker.api.services import Services

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
    return accepted(begin(standing.instance, "start_instance", asked, services))


def stop(asked: Asked, services: Services) -> Answer:
    """Have a server off; its guest is asked first."""
    standing = standing_of(asked, services)
    check_takes("stop", standing.instance)
    stopping = begin(standing.instance, "stop_instance", asked, services, clean_shutdown=True)
    return accepted(stopping)


def reboot(asked: Asked, services: Services) -> Answer:
    """Start a server anew: SOFT, or HARD, without asking its guest."""
    standing = standing_of(asked, services)
    hard = asked.body["reboot"]["type"].upper() == "HARD"
    check_takes("reboot_hard" if hard else "reboot", standing.instance)
    return accepted(begin(standing.instance, "reboot_instance", asked, services, hard=hard))


def rescue(asked: Asked, services: Services) -> Answer:
    """Boot a server from a rescue image."""
    standing = standing_of(asked, services)
    check_takes("rescue", standing.instance)
    begun = begin_rescue(standing, asked, services)
    body = {} if begun.password is None else {"adminPass": begun.password}
    return accepted(begun.operation, status=200, body=body)


def unrescue(asked: Asked, services: Services) -> Answer:
    """Have a server be what it was before its rescue."""
    standing = standing_of(asked, services)
    check_takes("unrescue", standing.instance)
    return accepted(begin(standing.instance, "unrescue_instance", asked, services))


def force_delete(asked: Asked, services: Services) -> Answer:
    """Delete a server, as DELETE does: there is no softer way here."""
    return accepted(destroy(asked, services))


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
