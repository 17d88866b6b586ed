"""blockworker instance build: an instance, from options, a file, or both."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.cmd import asking
from worker.cmd.output import print_fields
from worker.cmd.volume import parse_size
from worker.errors import RequestMalformed
from worker.model.ids import new_uuid

STDIN = Path("-")

_TEXTS = ("image_ref", "machine_type", "firmware", "kernel_id", "ramdisk_id", "command_line")
_NUMBERS = ("vcpus", "memory_mb", "root_gb", "swap_mb", "ephemeral_gb")


def build(arguments: argparse.Namespace) -> int:
    """Build the instance, wait until its guest runs, and print it."""
    wanted = wanted_by(arguments)
    asking.carry_out(arguments, "build_instance", **wanted)
    row = asking.read(arguments, "get_instance", instance_uuid=wanted["instance_uuid"])
    print_fields(row, as_json=arguments.json)
    return asking.DONE


def build_options(parser: argparse.ArgumentParser) -> None:
    """Add the options: named as the arguments of build_instance, docs/instances.md."""
    parser.add_argument("name", nargs="?", help="the instance's name, and its domain's")
    parser.add_argument("--uuid", help="the instance's uuid (default: drawn)")
    parser.add_argument(
        "--from",
        dest="file",
        metavar="FILE",
        type=Path,
        help="take arguments from this JSON, - for stdin; what is given beside it goes first",
    )
    parser.add_argument("--vcpus", type=int, help="how many processors")
    parser.add_argument("--memory", dest="memory_mb", metavar="MIB", type=int, help="memory")
    parser.add_argument("--image", dest="image_ref", metavar="ID", help="image of the root disk")
    parser.add_argument("--root", dest="root_gb", metavar="GIB", type=int, help="its size")
    parser.add_argument(
        "--ephemeral",
        dest="ephemeral_gb",
        metavar="GIB",
        type=int,
        action="append",
        help="an empty local disk with ext4; may be given again",
    )
    parser.add_argument("--swap", dest="swap_mb", metavar="MIB", type=int, help="a swap disk")
    parser.add_argument(
        "--disk",
        dest="block_devices",
        metavar="KEY=VALUE,…",
        action="append",
        help="another disk: volume_id=UUID, image_id=ID or size=10G, and tag, disk_bus,"
        " device_type, boot_index, guest_format, attachment_id, delete_on_termination=true",
    )
    parser.add_argument(
        "--network",
        dest="networks",
        metavar="KEY=VALUE,…",
        action="append",
        help="an interface: kind=bridge|tap|user, target, port_id (default: drawn), mac, model",
    )
    _more_options(parser)


def _more_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-drive", action="store_const", const=True, help="give it a config drive"
    )
    parser.add_argument("--machine-type", help="q35 (default), pc, or one that QEMU names")
    parser.add_argument("--firmware", choices=("bios", "uefi"), help="what it is started by")
    parser.add_argument("--kernel", dest="kernel_id", metavar="ID", help="start this kernel")
    parser.add_argument("--ramdisk", dest="ramdisk_id", metavar="ID", help="with this ramdisk")
    parser.add_argument("--command-line", metavar="TEXT", help="and this command line")
    parser.add_argument(
        "--meta",
        dest="metadata",
        metavar="KEY=VALUE",
        action="append",
        help="metadata for the config drive; may be given again",
    )


def wanted_by(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of build_instance; raises RequestMalformed."""
    found = {} if arguments.file is None else _read(arguments.file)
    for name in (*_TEXTS, *_NUMBERS, "name", "config_drive"):
        value = getattr(arguments, name)
        if value is not None:
            found[name] = value
    found["instance_uuid"] = arguments.uuid or found.get("instance_uuid") or new_uuid()
    if arguments.block_devices:
        found["block_devices"] = [_disk(text) for text in arguments.block_devices]
    if arguments.networks:
        found["networks"] = [_network(text) for text in arguments.networks]
    if arguments.metadata:
        found["metadata"] = dict(map(_pair, arguments.metadata))
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(sys.stdin.read() if file == STDIN else file.read_text())
    except (OSError, ValueError) as error:
        message = f"{file} holds no JSON that can be read: {error}"
        raise RequestMalformed(message) from error
    if not isinstance(found, dict):
        message = f"{file} holds no JSON object"
        raise RequestMalformed(message)
    return found


def _disk(text: str) -> Mapping[str, Any]:
    found: dict[str, Any] = dict(map(_pair, text.split(",")))
    if "size" in found:
        found["size"] = parse_size(found["size"])
    if "boot_index" in found:
        found["boot_index"] = _integer("boot_index", found["boot_index"])
    if "delete_on_termination" in found:
        found["delete_on_termination"] = found["delete_on_termination"] == "true"
    kinds = [kind for kind in ("volume", "image") if f"{kind}_id" in found]
    return {"source_type": kinds[0] if kinds else "blank"} | found


def _network(text: str) -> Mapping[str, Any]:
    return {"port_id": new_uuid()} | dict(map(_pair, text.split(",")))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.strip().partition("=")
    if not equals:
        message = f"{text!r} is malformed; KEY=VALUE is meant"
        raise RequestMalformed(message)
    return name, value


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        message = f"{name} {text!r} is no number"
        raise RequestMalformed(message) from error
