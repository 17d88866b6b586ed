"""blockworker device extend: what is changed of a volume while it is attached."""

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


COMMANDS = [
    Subcommand("extend", "have a guest see that its volume was extended", extend, _extended),
]
