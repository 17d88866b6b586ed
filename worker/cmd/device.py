"""blockworker device: the disks, interfaces and host devices of an instance."""

import argparse

from worker.cmd import asking, device_peripherals, device_volumes
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_fields, print_rows

COLUMNS = ("device_name", "disk_bus", "status", "volume_id", "address", "alias", "tag")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_commands(
        commands,
        "device",
        "the disks, interfaces and host devices of an instance",
        [
            Subcommand("list", "list the block devices of an instance", show_all, _instance),
            Subcommand("show", "show the block device of a volume", show, _instance_and_volume),
            *device_volumes.COMMANDS,
            *device_peripherals.COMMANDS,
        ],
    )


def show_all(arguments: argparse.Namespace) -> int:
    """List the live block devices."""
    rows = asking.read(arguments, "list_block_devices", instance_uuid=arguments.instance)
    print_rows(rows, COLUMNS, as_json=arguments.json)
    return asking.DONE


def show(arguments: argparse.Namespace) -> int:
    """Show one block device."""
    row = asking.read(
        arguments,
        "get_block_device",
        instance_uuid=arguments.instance,
        volume_id=arguments.volume,
    )
    print_fields(row, as_json=arguments.json)
    return asking.DONE


def _instance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instance", metavar="INSTANCE", help="the instance's uuid")


def _instance_and_volume(parser: argparse.ArgumentParser) -> None:
    _instance(parser)
    parser.add_argument("volume", metavar="VOLUME", help="the volume's id")
