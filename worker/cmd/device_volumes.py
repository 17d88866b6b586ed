"""blockworker device extend, swap and update: what is changed of a device that stays."""

import argparse
from collections.abc import Mapping
from typing import Any

from worker.cmd import asking
from worker.cmd.commands import Subcommand
from worker.cmd.output import print_fields
from worker.cmd.volume import parse_size
from worker.errors import BlockDeviceNotFound, NoVolume

NAMES = ("uuid", "device_name", "volume_id")


def extend(arguments: argparse.Namespace) -> int:
    """Have the guest see the volume's new size, wait for the end and print the row."""
    row = named(arguments)
    asking.carry_out(
        arguments,
        "extend_volume",
        instance_uuid=arguments.instance,
        bdm_uuid=row["uuid"],
        new_size=_size(arguments, row),
    )
    print_fields(named(arguments), as_json=arguments.json)
    return asking.DONE


def swap(arguments: argparse.Namespace) -> int:
    """Have the guest go on with another volume, wait for the end and print the row."""
    row = named(arguments)
    asking.carry_out(
        arguments,
        "swap_volume",
        instance_uuid=arguments.instance,
        bdm_uuid=row["uuid"],
        new_volume_id=arguments.volume,
    )
    found = asking.read(
        arguments,
        "get_block_device",
        instance_uuid=arguments.instance,
        volume_id=arguments.volume,
    )
    print_fields(found, as_json=arguments.json)
    return asking.DONE


def update(arguments: argparse.Namespace) -> int:
    """Change tag, or what becomes of the volume with its instance; print the row."""
    asking.carry_out(
        arguments,
        "update_block_device",
        instance_uuid=arguments.instance,
        bdm_uuid=named(arguments)["uuid"],
        delete_on_termination=arguments.delete_on_termination,
        tag=arguments.tag,
    )
    print_fields(named(arguments), as_json=arguments.json)
    return asking.DONE


def named(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Return the row that is meant by its device name, volume or uuid."""
    rows = asking.read(arguments, "list_block_devices", instance_uuid=arguments.instance)
    wanted = {arguments.device, f"/dev/{arguments.device}"}
    found = [row for row in rows if wanted & {row[name] for name in NAMES}]
    if not found:
        message = f"instance {arguments.instance} has no block device {arguments.device}"
        raise BlockDeviceNotFound(message)
    row: Mapping[str, Any] = found[0]
    return row


def _size(arguments: argparse.Namespace, row: Mapping[str, Any]) -> int:
    if arguments.size is not None:
        return parse_size(arguments.size)
    if row["volume_id"] is None:
        message = f"block device {row['uuid']} is a local disk, which cannot be extended"
        raise NoVolume(message)
    volume = asking.read(arguments, "get_volume", volume_id=row["volume_id"])
    return int(volume["size"])


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instance", metavar="INSTANCE", help="the instance's uuid")
    parser.add_argument(
        "device", metavar="DEVICE", help="the device's name (vdb), its volume's id, or its uuid"
    )


def _extended(parser: argparse.ArgumentParser) -> None:
    _device(parser)
    parser.add_argument(
        "--size", help="the new size: bytes, or 10G (default: what the volume service says)"
    )


def _swapped(parser: argparse.ArgumentParser) -> None:
    _device(parser)
    parser.add_argument("volume", metavar="NEW_VOLUME", help="the id of the volume to go on with")


def _updated(parser: argparse.ArgumentParser) -> None:
    _device(parser)
    tag = parser.add_mutually_exclusive_group()
    tag.add_argument("--tag", help="the name by which the guest's user knows the disk")
    tag.add_argument("--no-tag", dest="tag", action="store_const", const="", help="take it away")
    parser.add_argument(
        "--delete-on-termination",
        action=argparse.BooleanOptionalAction,
        help="whether the volume is deleted with the instance",
    )


COMMANDS = [
    Subcommand("swap", "copy a disk onto another volume while it is in use", swap, _swapped),
    Subcommand("extend", "have a guest see that its volume was extended", extend, _extended),
    Subcommand("update", "change a tag, or what becomes of a volume", update, _updated),
]
