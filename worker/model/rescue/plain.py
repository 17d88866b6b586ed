"""A rescue as plain JSON, as its instance's row keeps it, and back."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from worker.model.block_device import Bus, DeviceType
from worker.model.places.address import parse_address
from worker.model.rescue.words import Mode, Rescue, Spot
from worker.model.source import DiskFormat
from worker.model.specification import LocalDisk


def json_of(rescue: Rescue) -> dict[str, Any]:
    """Return plain JSON; an address is as its text form says."""
    moved = rescue.moved
    return asdict(rescue) | {
        "spot": _json_of_spot(rescue.spot),
        "moved": None if moved is None else {name: _json_of_spot(moved[name]) for name in moved},
        "since": None if rescue.since is None else rescue.since.isoformat(),
    }


def rescue_of(kept: Mapping[str, Any]) -> Rescue:
    """Read it back."""
    moved, since, names = kept["moved"], kept["since"], kept["kept"]
    parts = {
        "mode": Mode(kept["mode"]),
        "disk": LocalDisk(**{**kept["disk"], "format": DiskFormat(kept["disk"]["format"])}),
        "device_type": DeviceType(kept["device_type"]),
        "bus": Bus(kept["bus"]),
        "spot": _spot(kept["spot"]),
        "kept": None if names is None else tuple(names),
        "moved": None if moved is None else {name: _spot(moved[name]) for name in moved},
        "since": None if since is None else datetime.fromisoformat(since),
    }
    return Rescue(**{**kept, **parts})


def _json_of_spot(spot: Spot) -> dict[str, Any]:
    address = None if spot.address is None else str(spot.address)
    return {"target": spot.target, "address": address}


def _spot(kept: Mapping[str, Any]) -> Spot:
    address = kept["address"]
    return Spot(target=kept["target"], address=None if address is None else parse_address(address))
