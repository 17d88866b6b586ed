"""Which microversion is spoken: the newest that Cinder and the worker both know."""

from collections.abc import Mapping
from typing import Any

from worker.errors import VolumeServiceUnsuitable
from worker.volume.cinder.faults import understood
from worker.volume.cinder.settings import PATH

WANTED = (3, 54)
"""The newest whose answers the worker was made for."""

LEAST = (3, 44)
"""The first that can complete an attachment (Queens)."""


def versions_url(endpoint: str) -> str:
    """Return where an endpoint's Cinder says which versions it has."""
    before, found, _ = f"{endpoint.rstrip('/')}/".partition(f"{PATH}/")
    if not found:
        raise VolumeServiceUnsuitable(f"{endpoint} is no endpoint of Cinder's API v3")
    return f"{before}{PATH}/"


FIRST = (3, 0)
"""What the actions on volumes need that were there before attachments."""


def negotiated(said: Mapping[str, Any], least: tuple[int, int] = LEAST) -> str:
    """Return the microversion to speak; raises VolumeServiceUnsuitable where there is none."""
    with understood():
        ranges = [
            (_number(one["min_version"]), _number(one["version"]))
            for one in said["versions"]
            if one["id"].startswith("v3")
        ]
    for oldest, newest in ranges:
        spoken = min(newest, WANTED)
        if spoken >= max(oldest, least):
            return _text(spoken)
    theirs = ", ".join(f"{_text(oldest)} to {_text(newest)}" for oldest, newest in ranges)
    raise VolumeServiceUnsuitable(
        f"this Cinder speaks microversions {theirs or 'of no v3'}; the worker needs one from"
        f" {_text(least)} to {_text(WANTED)}"
    )


def _number(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _text(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"
