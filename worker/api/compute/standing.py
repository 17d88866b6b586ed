"""A server as it stands: by its row or, while it has none, by the build in the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from worker.api.asked import Asked
from worker.api.compute.access import may_see, owner_of, server_of
from worker.api.ruling import check_rule
from worker.api.services import Services
from worker.errors import InstanceNotFound
from worker.model.ids import ImageId, InstanceId, is_uuid
from worker.model.instance import Instance, TaskState, VmState
from worker.model.operation import Fault
from worker.model.specification import Specification
from worker.persistence.fleet import Server, Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A server; ``rowless`` while its build has made no row, or has failed. ``fault`` says why."""

    server: Server
    rowless: bool = False
    fault: Fault | None = None

    @property
    def instance(self) -> Instance:
        """The instance that the server is."""
        return self.server.instance


def standing_of(asked: Asked, services: Services) -> Standing:
    """Return the server that the path names, if it has a row or the journal has its build.

    Raises InstanceNotFound, for another project's too, and Refused (403) as ``server_of`` does.
    """
    try:
        return Standing(server=server_of(asked, services))
    except InstanceNotFound:
        found = _built(asked.path["server_id"], services)
        if found is None or not may_see(asked, found.server):
            raise
        check_rule(asked, services, owner_of(found.server))
        return found


def _built(wanted: str, services: Services) -> Standing | None:
    told = services.fleet.build_of(InstanceId(wanted)) if is_uuid(wanted) else None
    return None if told is None else rowless(told)


def rowless(told: Told) -> Standing:
    """Return what a build without a row is: a server that is built or, once it ended, an error."""
    operation = told.operation
    failed = operation.state.ended
    instance = _wanted(operation.arguments, told.host)
    if failed:
        instance = replace(instance, vm_state=VmState.ERROR, task_state=None)
    since = operation.accepted_at
    server = Server(instance=instance, created_at=since, updated_at=operation.ended_at or since)
    return Standing(server=server, rowless=True, fault=operation.fault if failed else None)


def _wanted(arguments: Mapping[str, Any], host: str) -> Instance:
    return Instance(
        uuid=InstanceId(arguments["instance_uuid"]),
        host=host,
        name=arguments["name"],
        vm_state=VmState.BUILDING,
        task_state=TaskState.BUILDING,
        project_id=arguments.get("project_id"),
        user_id=arguments.get("user_id"),
        specification=_specification(arguments),
    )


def _specification(arguments: Mapping[str, Any]) -> Specification:
    image = arguments.get("image_ref")
    return Specification(
        vcpus=arguments["vcpus"],
        memory=arguments["memory_mb"],
        image=None if image is None else ImageId(image),
        config_drive=bool(arguments.get("config_drive")),
        metadata=arguments.get("metadata") or {},
    )


def fault_of(standing: Standing, services: Services) -> Fault | None:
    """Return why a server in error is, as the last of its operations that failed says."""
    if standing.rowless or standing.instance.vm_state is not VmState.ERROR:
        return standing.fault
    told = services.fleet.operations(standing.instance.uuid, limit=20)
    return next((each.operation.fault for each in told if each.operation.fault), None)
