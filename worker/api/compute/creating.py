"""Have a server built: all that can be refused is refused before the worker has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from worker.api.asked import Asked, Json, Refused
from worker.api.compute.disks_asked import disks_of, images_of, volumes_of
from worker.api.compute.images_asked import check_images
from worker.api.compute.placement import host_for
from worker.api.compute.server_words import hostname_of
from worker.api.compute.volumes_asked import check_volumes
from worker.api.offers import Flavor
from worker.api.services import Services
from worker.api.words import is_true
from worker.errors import BrokerUnavailable, NoAnswer
from worker.handlers.build_instance import BuildInstance
from worker.image.files import is_plain
from worker.model.build.checks import check_wanted
from worker.model.ids import InstanceId, OperationId, new_uuid
from worker.rpc.reading import request_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A build that the worker's journal has."""

    instance: InstanceId
    operation: OperationId


BEGINNING = 3600.0
"""Seconds within which a build has to begin: others may be before it, but nobody waits for ever."""

_NOT_DONE: Mapping[str, str] = {
    "adminPass": "no password can be put into a guest; leave it out",
    "user_data": "a config drive has no user data here; leave it out, and use metadata",
    "key_name": "there are no key pairs here; leave it out, and have the key in the image",
    "personality": "no files are put into a guest; leave it out",
    "block_device_mapping": "use block_device_mapping_v2",
    "tags": "servers have no tags here; leave them out, and use metadata",
    "description": "servers have no description here; leave it out, and use metadata",
    "accessIPv4": "addresses are not kept here; leave it out",
    "accessIPv6": "addresses are not kept here; leave it out",
    "trusted_image_certificates": "signatures of images are not checked here; leave it out",
    "return_reservation_id": "there are no reservations here; leave it out",
}


def create(asked: Asked, services: Services) -> Accepted:
    """Have a worker begin the build, and return what it will be known by.

    When this returns the build is in the journal, and reaches an end. What it raises has left
    nothing behind: the request may be repeated.
    """
    server = asked.body["server"]
    _check_done(asked.body)
    instance, operation = InstanceId(new_uuid()), OperationId(new_uuid())
    arguments = _arguments(instance, asked, services)
    check_wanted(request_from(BuildInstance, arguments))
    check_images(images_of(arguments), asked, services)
    check_volumes(volumes_of(arguments), asked, services)
    host = host_for(server, asked, services)
    _check_name(server["name"], host, asked, services)
    _call(host, operation, arguments, asked, services)
    return Accepted(instance=instance, operation=operation)


def _call(
    host: str, operation: OperationId, arguments: Json, asked: Asked, services: Services
) -> None:
    latest = services.clock() + timedelta(seconds=BEGINNING)
    try:
        services.workers.call(
            host,
            "build_instance",
            request_id=asked.request_id,
            operation_id=operation,
            expires_at=latest.isoformat(),
            **arguments,
        )
    except (NoAnswer, BrokerUnavailable):
        if services.fleet.operation(operation) is None:
            _undo(host, arguments["instance_uuid"], asked, services)
            raise


def _undo(host: str, instance: str, asked: Asked, services: Services) -> None:
    """Have a build that may yet reach the journal be followed by its end; none is fine."""
    services.workers.cast(
        host, "destroy_instance", request_id=asked.request_id, instance_uuid=instance
    )


def _arguments(instance: InstanceId, asked: Asked, services: Services) -> Json:
    server = asked.body["server"]
    flavor = _flavor(server["flavorRef"], services)
    return {
        "instance_uuid": instance,
        "name": server["name"],
        "vcpus": flavor.vcpus,
        "memory_mb": flavor.memory_mb,
        "metadata": server.get("metadata", {}),
        "config_drive": is_true(server.get("config_drive", False)),
        "networks": _networks(server.get("networks", "auto"), services),
        "project_id": asked.who.project_id,
        "user_id": asked.who.user_id,
    } | disks_of(server, _image(server), flavor)


def _check_done(body: Mapping[str, Any]) -> None:
    """Refuse what would be lost: a server is what it was asked to be."""
    server = body["server"]
    for name, message in _NOT_DONE.items():
        if server.get(name) and server[name] not in ("False", "false", "0"):
            raise Refused(400, f"{name} is not done here: {message}")
    for name in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"):
        if body.get(name):
            message = f"{name} is not done here: name a host in availability_zone, or leave it out"
            raise Refused(400, message)
    for name in ("min_count", "max_count"):
        if int(server.get(name, 1)) != 1:
            raise Refused(400, f"{name} is 1 here: ask once for each server")
    wanted = server.get("hostname")
    if wanted is not None and wanted != hostname_of(server["name"]):
        raise Refused(400, f"hostname is made of the name here: {hostname_of(server['name'])}")


def _flavor(wanted: str | int, services: Services) -> Flavor:
    found = services.offers.flavor(str(wanted))
    if found is None:
        known = ", ".join(f"{each.id} ({each.name})" for each in services.offers.flavors)
        raise Refused(400, f"Flavor {wanted} could not be found. There are: {known}")
    return found


def _image(server: Json) -> str | None:
    image = str(server.get("imageRef", "")).rsplit("/", 1)[-1]
    # A folder's images have the names of their files.
    if image and not is_plain(image):
        raise Refused(400, f"imageRef {image} is no id of an image: ask for the list of images")
    return image or None


def _networks(wanted: str | list[Json], services: Services) -> list[Json]:
    if isinstance(wanted, list) and wanted:
        message = (
            "there is no network service here: ask for networks none or auto, and attach interfaces"
            " with blockworker device attach-interface"
        )
        raise Refused(400, message)
    network = services.offers.network
    if wanted == "none" or network is None:
        return []
    target = {} if network.target is None else {"target": network.target}
    return [{"port_id": new_uuid(), "kind": network.kind.value} | target]


def _check_name(name: str, host: str, asked: Asked, services: Services) -> None:
    """A host has one domain of each name; which host it is, its users need not know."""
    if services.fleet.has_name(host, name):
        where = f"host {host}" if asked.who.is_admin else "the host of choice"
        raise Refused(409, f"{where} has a server named {name} already; choose another name")
