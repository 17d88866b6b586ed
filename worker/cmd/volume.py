"""blockworker volume: the volumes of the built-in pool."""

import argparse
import re
from pathlib import Path

from worker.cmd import asking
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_fields, print_rows
from worker.errors import RequestMalformed
from worker.model.ids import new_uuid

COLUMNS = ("id", "name", "size", "status", "multiattach", "project_id")

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
            Subcommand("extend", "make a volume larger", extend, _extend_options),
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
        encrypted=arguments.encrypted,
        qos_specs=dict(map(parse_limit, arguments.qos)),
        discard=arguments.discard,
        logical_block_size=_size_or_none(arguments.block_size),
        physical_block_size=_size_or_none(arguments.physical_block_size),
        project_id=arguments.project,
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


def extend(arguments: argparse.Namespace) -> int:
    """Make the volume larger, and print it."""
    volume, size = arguments.id, parse_size(arguments.size)
    asking.carry_out(arguments, "grow_volume", volume_id=volume, size=size)
    print_fields(asking.read(arguments, "get_volume", volume_id=volume), as_json=arguments.json)
    return asking.DONE


def parse_limit(text: str) -> tuple[str, str]:
    """Read NAME=NUMBER; raises RequestMalformed."""
    name, equals, number = text.partition("=")
    if not equals:
        raise RequestMalformed(f"limit {text!r} is malformed; NAME=NUMBER is meant")
    return name, number


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
    parser.add_argument(
        "--encrypted",
        action="store_true",
        help="its content is LUKS, opened by QEMU: a new one gets header and key, a file has them",
    )
    parser.add_argument(
        "--qos",
        metavar="NAME=NUMBER",
        action="append",
        default=[],
        help="a limit, as total_bytes_sec=1000000; again for another",
    )
    parser.add_argument("--discard", action="store_true", help="let discards free its space")
    parser.add_argument("--block-size", metavar="SIZE", help="of a block, as guests are told")
    parser.add_argument("--physical-block-size", metavar="SIZE", help="the same, as it is kept")
    parser.add_argument(
        "--project",
        metavar="ID",
        help="whose it is, for the REST API (default: an operator's, seen by administrators)",
    )


def _extend_options(parser: argparse.ArgumentParser) -> None:
    _id(parser)
    parser.add_argument("size", help="the size that it is to have: bytes, or 64M, 10G")


def _size_or_none(text: str | None) -> int | None:
    return None if text is None else parse_size(text)


def _id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="UUID", help="the volume's id")
