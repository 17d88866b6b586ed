"""Which microversion a request speaks, and how the answer says so.

Rules: https://specs.openstack.org/openstack/api-sig/guidelines/microversion_specification.html
"""

import re
from collections.abc import Mapping

from worker.api.asked import Refused, Version
from worker.api.route import Service

HEADER = "OpenStack-API-Version"
LEGACY = "X-OpenStack-Nova-API-Version"

RANGES: Mapping[Service, tuple[Version, Version]] = {
    Service.COMPUTE: (Version(2, 1), Version(2, 101)),
    Service.VOLUME: (Version(3, 0), Version(3, 71)),
}
"""The oldest and the newest that each service speaks; the others have none."""

UNVERSIONED = Version(0, 0)

_FORM = re.compile(r"[1-9][0-9]{0,5}\.(?:0|[1-9][0-9]{0,5})")


def negotiated(service: Service, headers: Mapping[str, str]) -> Version:
    """Return the microversion that a request is in; raises Refused (400, 406).

    ``headers`` have their names in lower case.
    """
    known = RANGES.get(service)
    if known is None:
        return UNVERSIONED
    wanted = _wanted(service, headers)
    if wanted is None:
        return known[0]
    if wanted == "latest":
        return known[1]
    if not _FORM.fullmatch(wanted):
        message = f"API version {wanted[:40]!r} is no version; say {service} X.Y, or latest"
        raise Refused(400, message)
    asked = Version(*map(int, wanted.split(".")))
    if not known[0] <= asked <= known[1]:
        message = (
            f"Version {asked} is not supported by the API. Minimum is {known[0]} and maximum is"
            f" {known[1]}; latest is the newest."
        )
        raise Refused(406, message)
    return asked


def said(service: Service, version: Version) -> dict[str, str]:
    """Return the headers that tell the caller which microversion answers."""
    if service not in RANGES:
        return {}
    headers = {HEADER: f"{service} {version}", "Vary": HEADER}
    if service is Service.COMPUTE:
        headers |= {LEGACY: str(version), "Vary": f"{HEADER}, {LEGACY}"}
    return headers


def _wanted(service: Service, headers: Mapping[str, str]) -> str | None:
    for each in headers.get(HEADER.lower(), "").split(","):
        name, _, version = each.strip().partition(" ")
        if name.lower() == service:
            return version.strip().lower()
    legacy = headers.get(LEGACY.lower())
    return legacy.strip().lower() if legacy and service is Service.COMPUTE else None
