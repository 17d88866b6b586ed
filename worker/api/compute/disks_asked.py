"""``block_device_mapping_v2``, as the worker has it."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.api.asked import Json, Refused
from worker.api.offers import MIB, Flavor
from worker.api.words import is_true
from worker.model.volume import GIB

_NOT_MADE = {
    ("image", "volume"): "a volume of an image",
    ("blank", "volume"): "an empty volume",
    ("snapshot", "volume"): "a volume of a snapshot",
    ("snapshot", "local"): "a disk of a snapshot",
}
"""What Nova would make first; whoever asks makes it at the volume service."""

_DEFAULT = {"volume": "volume", "snapshot": "volume", "image": "local", "blank": "local"}


def disks_of(server: Json, image: str | None, flavor: Flavor) -> Json:
    """Return the arguments of a build that say which disks there are; raises Refused (400)."""
    disks = [
        _disk(f"block_device_mapping_v2/{place}", each)
        for place, each in enumerate(server.get("block_device_mapping_v2", ()))
        if not each.get("no_device")
    ]
    _check_root(disks, image)
    arguments: Json = {"image_ref": image, "block_devices": disks}
    if flavor.root_gb and _has_local_root(disks, image):
        arguments["root_gb"] = flavor.root_gb
    return arguments | _of_flavor(disks, flavor)


def images_of(arguments: Json) -> list[str]:
    """Return the images that the disks are made of."""
    disks = [disk["image_id"] for disk in arguments["block_devices"] if "image_id" in disk]
    return [image for image in (arguments["image_ref"], *disks) if image is not None]


def volumes_of(arguments: Json) -> list[str]:
    """Return the volumes among the disks."""
    return [disk["volume_id"] for disk in arguments["block_devices"] if "volume_id" in disk]


def _disk(where: str, wanted: Mapping[str, Any]) -> Json:
    source = wanted["source_type"]
    destination = wanted.get("destination_type") or _DEFAULT[source]
    if (source, destination) in _NOT_MADE:
        message = (
            f"{where}: {_NOT_MADE[source, destination]} is not made here: make it at the volume"
            " service, then name it as source_type and destination_type volume"
        )
        raise Refused(400, message)
    if (source, destination) == ("volume", "local"):
        raise Refused(400, f"{where}: a volume's destination_type is volume")
    disk: Json = {"source_type": source, "boot_index": _number(wanted.get("boot_index"))}
    disk |= _content(where, source, wanted)
    for name in ("tag", "disk_bus", "device_type"):
        if wanted.get(name):
            disk[name] = wanted[name]
    return disk


def _content(where: str, source: str, wanted: Mapping[str, Any]) -> Json:
    if source == "volume":
        keep = wanted.get("delete_on_termination", False)
        return {
            "volume_id": _id(where, "volume_id", wanted),
            "delete_on_termination": is_true(keep),
        }
    size = _number(wanted.get("volume_size"))
    if source == "image":
        sized = {} if size is None else {"size": size * GIB}
        return {"image_id": _id(where, "image_id", wanted)} | sized
    if size is None:
        raise Refused(400, f"{where}: volume_size is needed by a blank disk")
    format_ = wanted.get("guest_format")
    # Nova counts swap in MiB, and everything else in GiB.
    unit = MIB if format_ == "swap" else GIB
    return {"size": size * unit} | ({"guest_format": format_} if format_ else {})


def _id(where: str, name: str, wanted: Mapping[str, Any]) -> str:
    found = wanted.get("uuid") or wanted.get(name)
    if not found:
        raise Refused(400, f"{where}: uuid is needed, to say which {name.removesuffix('_id')}")
    return str(found)


def _check_root(disks: Sequence[Json], image: str | None) -> None:
    roots = [disk for disk in disks if disk["boot_index"] == 0]
    if image is None and not roots:
        message = (
            "Block Device Mapping is Invalid: nothing to boot from; give an imageRef, or a disk"
            " with boot_index 0"
        )
        raise Refused(400, message)
    if len(roots) > 1 or any(image is not None and each.get("image_id") != image for each in roots):
        message = (
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device"
            " mapping combination is not valid: one disk has boot_index 0, that of imageRef counted"
        )
        raise Refused(400, message)


def _has_local_root(disks: Sequence[Json], image: str | None) -> bool:
    root = next((disk for disk in disks if disk["boot_index"] == 0), None)
    if root is None:
        return image is not None
    return "image_id" in root and "size" not in root


def _of_flavor(disks: Sequence[Json], flavor: Flavor) -> Json:
    """Return what the flavor gives beside the root, where the caller does not say otherwise."""
    blank = [disk for disk in disks if disk["source_type"] == "blank"]
    swap = any(disk.get("guest_format") == "swap" for disk in blank)
    other = any(disk.get("guest_format") != "swap" for disk in blank)
    found: Json = {}
    if flavor.swap and not swap:
        found["swap_mb"] = flavor.swap
    if flavor.ephemeral and not other:
        found["ephemeral_gb"] = [flavor.ephemeral]
    return found


def _number(value: object) -> int | None:
    return None if value is None or value == "" else int(str(value))
