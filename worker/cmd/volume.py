"""blockworker volume: the volumes of the built-in pool."""

import argparse
import re
from pathlib import Path

from worker.cmd import asking
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_fields, print_rows
from worker.errors import RequestMalformed
from worker.model.ids import new_uuid

COLUMNS = ("id", "name", "size", "status", "multiattach")

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_commands(
        commands,
        "volume",
        "the volumes of the built-in pool",
        [
            Subcommand("create", "make a volume, or take a file as one", create, _create_options),
            Subcommand("list", "list the volumes", show_all),
            Subcommand("show", "show one volume", show, _id),
            Subcommand("delete", "delete a volume that is not attached", delete, _id),
        ],
    )


def create(arguments: argparse.Namespace) -> int:
    """Make a volume and print it."""
    volume = arguments.id or new_uuid()
    asking.carry_out(
        arguments,
        "create_volume",
        volume_id=volume,
        size=None if arguments.size is None else parse_size(arguments.size),
        path=None if arguments.file is None else str(arguments.file.absolute()),
        name=arguments.name,
        multiattach=arguments.multiattach,
    )
    print_fields(asking.read(arguments, "get_volume", volume_id=volume), as_json=arguments.json)
    return asking.DONE


def show_all(arguments: argparse.Namespace) -> int:
    """List the volumes."""
    print_rows(asking.read(arguments, "list_volumes"), COLUMNS, as_json=arguments.json)
    return asking.DONE


def show(arguments: argparse.Namespace) -> int:
    """Show one volume."""
    found = asking.read(arguments, "get_volume", volume_id=arguments.id)
    print_fields(found, as_json=arguments.json)
    return asking.DONE


def delete(arguments: argparse.Namespace) -> int:
    """Delete a volume; a file that was taken in place stays."""
    done = asking.carry_out(arguments, "delete_volume", volume_id=arguments.id)
    if arguments.json:
        print_fields(done, as_json=True)
    return asking.DONE


def parse_size(text: str) -> int:
    """Read 512, 64M or 10G as bytes; raises RequestMalformed."""
    match = re.fullmatch(r"(\d+)([KMGT]?)i?B?", text, re.IGNORECASE)
    if match is None:
        message = f"size {text!r} is malformed; bytes, or a number and K, M, G or T are meant"
        raise RequestMalformed(message)
    return int(match[1]) * UNITS[match[2].upper()]


def _create_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="", help="a name for people")
    parser.add_argument("--id", metavar="UUID", help="the volume's id (default: drawn)")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--size", help="make an empty volume of this size: bytes, or 64M, 10G")
    kind.add_argument("--file", type=Path, help="use this raw image, or block device, in place")
    parser.add_argument(
        "--multiattach", action="store_true", help="let several instances have it at once"
    )


def _id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="UUID", help="the volume's id")
