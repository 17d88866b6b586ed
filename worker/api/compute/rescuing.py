"""A rescue, as a client of Nova asks for it."""

import secrets
import string
from dataclasses import dataclass

from worker.api.asked import Asked, Refused
from worker.api.beginning import begin
from worker.api.compute.images_asked import check_images
from worker.api.compute.server_view import volume_backed
from worker.api.compute.standing import Standing
from worker.api.services import Services
from worker.api.unplaced import fit_for
from worker.errors import ImageNotFound, NotRescuable, RequestMalformed
from worker.model.ids import OperationId
from worker.model.secret import check_secret

FROM_VOLUME = 87
"""The minor microversion from which on what boots from a volume can be rescued."""

_LETTERS = string.ascii_letters + string.digits
_LONG = 12
"""As Nova's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A rescue that the journal has; ``password`` is what its config drive tells, if it can."""

    operation: OperationId
    password: str | None


def begin_rescue(standing: Standing, asked: Asked, services: Services) -> Accepted:
    """Have the worker begin the rescue; what it would refuse is refused before. Raises Refused."""
    instance, body = standing.instance, asked.body["rescue"] or {}
    _check_volume_backed(standing, asked, services)
    password = _password(standing, body.get("adminPass"))
    image = body.get("rescue_image_ref")
    check_images([] if image is None else [image], asked, services)
    _check_plan(standing, image, asked, services)
    operation = begin(
        instance,
        "rescue_instance",
        asked,
        services,
        rescue_image_ref=image,
        rescue_password=password,
        clean_shutdown=True,
    )
    return Accepted(operation=operation, password=password)


def _check_volume_backed(standing: Standing, asked: Asked, services: Services) -> None:
    if asked.at_least(FROM_VOLUME):
        return
    if volume_backed(services.fleet.devices(standing.instance.uuid)):
        reason = "Cannot rescue a volume-backed instance"
        raise _not_rescuable(standing, f"{reason}; microversion 2.{FROM_VOLUME} can")


def _password(standing: Standing, given: str | None) -> str | None:
    """Return the one that is given, or a new one; None where there is nothing to put it on."""
    made_as = standing.instance.specification
    if made_as is None or not made_as.config_drive:
        if given is None:
            return None
        reason = "it has no config drive to put a password on; leave adminPass out"
        raise _not_rescuable(standing, reason)
    if given is None:
        return "".join(secrets.choice(_LETTERS) for _ in range(_LONG))
    try:
        check_secret(given)
    except RequestMalformed as error:
        raise Refused(400, f"Invalid input for body rescue/adminPass: {error}") from error
    return given


def _check_plan(standing: Standing, image: str | None, asked: Asked, services: Services) -> None:
    instance = standing.instance
    try:
        services.workers.plan_rescue(
            instance.host, instance_uuid=instance.uuid, rescue_image_ref=image
        )
    except (NotRescuable, ImageNotFound) as error:
        raise _not_rescuable(standing, fit_for(asked.who, str(error))) from error


def _not_rescuable(standing: Standing, reason: str) -> Refused:
    return Refused(400, f"Instance {standing.instance.uuid} cannot be rescued: {reason}")
