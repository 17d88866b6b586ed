"""blockworker instance rescue and unrescue: what the guest is booted from, for once and back."""

import argparse
import getpass
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.cmd import asking
from worker.cmd.output import print_fields, print_json, table
from worker.errors import RequestMalformed

COLUMNS = ("what", "before", "boot", "in_rescue", "boot_in_rescue", "change")

RESCUE_HELP = """Boot the guest from a rescue image, and wait until it runs in rescue. The image is
IMAGE, else the host's rescue_image, else the one that the instance was made of.

An image with the property hw_rescue_bus or hw_rescue_device is plugged in as one disk
more, the last, and every disk of the instance stays where it is (stable mode). With
neither, it takes the root's place, the root is second, and all other disks but the config
drive are away (legacy mode). Unrescue brings the guest back as it was, either way.

--plan prints each disk as it is before and in rescue, and does nothing. A rescue that would
be refused is refused likewise, but that the image's content is not looked at yet."""

RESCUE_EPILOG = """exit status: 0 the guest runs in rescue (with --plan: it could), 1 failed, and
it is as it was, 2 wrong usage. docs/rescue.md explains modes, image properties, and how disks
appear inside the guest."""

UNRESCUE_HELP = """End the rescue and wait until the guest is what it was before: running, or off
if it was off. The rescue disk and what was written to it are deleted."""

Disk = Mapping[str, Any]


def rescue(arguments: argparse.Namespace) -> int:
    """Have the guest run in rescue, or print what that would be."""
    if arguments.plan:
        return _plan(arguments)
    done = asking.carry_out(
        arguments,
        "rescue_instance",
        instance_uuid=arguments.instance,
        rescue_image_ref=arguments.image,
        rescue_password=_password(arguments),
        clean_shutdown=not arguments.hard,
    )
    if arguments.json:
        print_fields(done, as_json=True)
    else:
        row = asking.read(arguments, "get_instance", instance_uuid=arguments.instance)
        print(_said(row))
    return asking.DONE


def unrescue(arguments: argparse.Namespace) -> int:
    """Have the guest be what it was before the rescue."""
    done = asking.carry_out(
        arguments,
        "unrescue_instance",
        instance_uuid=arguments.instance,
        clean_shutdown=not arguments.hard,
    )
    if arguments.json:
        print_fields(done, as_json=True)
    return asking.DONE


def rescue_options(parser: argparse.ArgumentParser) -> None:
    """Add what a rescue can be told."""
    _explain(parser, RESCUE_HELP, RESCUE_EPILOG)
    _instance_and_hard(parser)
    parser.add_argument(
        "--image",
        metavar="IMAGE",
        help="id of the rescue image (default: rescue_image, else the instance's own)",
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        "--password-stdin",
        action="store_true",
        help="put a password for the rescue system on the config drive; it is read from stdin",
    )
    only.add_argument(
        "--password-file", metavar="FILE", type=Path, help="read that password from FILE"
    )
    only.add_argument(
        "--plan", action="store_true", help="print the disks before and in rescue, do nothing"
    )


def unrescue_options(parser: argparse.ArgumentParser) -> None:
    """Add what an unrescue can be told."""
    _explain(parser, UNRESCUE_HELP, None)
    _instance_and_hard(parser)


def _explain(parser: argparse.ArgumentParser, text: str, epilog: str | None) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = text, epilog


def _instance_and_hard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instance", metavar="INSTANCE", help="the instance's uuid")
    parser.add_argument(
        "--hard", action="store_true", help="cut the guest's power, do not ask it to power off"
    )


def _password(arguments: argparse.Namespace) -> str | None:
    """Return the one line that was given, so that no secret is on a command line.

    Raises RequestMalformed, which says nothing of the content.
    """
    if arguments.password_stdin:
        return _one_line(_asked(), "stdin")
    if arguments.password_file is not None:
        return _one_line(_read(arguments.password_file), str(arguments.password_file))
    return None


def _asked() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Password for the rescue system: ")
    return sys.stdin.read()


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        message = f"the password cannot be read from {file}: {error.strerror}"
        raise RequestMalformed(message) from error
    except UnicodeDecodeError as error:
        message = f"{file} holds no text in UTF-8, so no password"
        raise RequestMalformed(message) from error


def _one_line(text: str, where: str) -> str:
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0]:
        message = f"{where} is to hold a password alone on one line, and has {len(lines)} lines"
        raise RequestMalformed(message)
    return lines[0]


def _said(row: Mapping[str, Any]) -> str:
    """A later operation may have ended the rescue already."""
    rescued = row["rescue"]
    if rescued is None:
        return f"instance {row['uuid']} is {row['vm_state']}"
    return (
        f"instance {row['uuid']} runs in rescue ({rescued['mode']}): image {rescued['image']} is"
        f" {rescued['device_name']}"
    )


def _plan(arguments: argparse.Namespace) -> int:
    found = asking.ask(
        arguments,
        "plan_rescue",
        instance_uuid=arguments.instance,
        rescue_image_ref=arguments.image,
    )
    if arguments.json:
        print_json(found)
    else:
        print(described(found))
    return asking.DONE


def described(plan: Mapping[str, Any]) -> str:
    """Lay a plan out for people: each disk before and in rescue, side by side."""
    by = "its firmware, from the rescue disk alone" if plan["boot"] == "firmware" else "a kernel"
    head = (
        f"rescue with image {plan['image']}, {plan['mode']} mode: a {plan['device_type']} on"
        f" {plan['bus']}; the guest is started by {by}"
    )
    return "\n".join([head, "", table(_rows(plan), COLUMNS), "", "nothing was changed"])


def _rows(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a line for each disk, in the order of the rescue; what is away in it comes last."""
    before = {disk["device_name"]: disk for disk in plan["before"]}
    there = [_row(before.get(disk["was"]), disk) for disk in plan["in_rescue"]]
    return [*there, *(_row(disk, None) for disk in plan["before"] if not disk["in_rescue"])]


def _row(before: Disk | None, after: Disk | None) -> Mapping[str, Any]:
    shown = after or before or {}
    return {
        "what": shown["what"],
        "before": _place(before),
        "boot": before and before["boot_order"],
        "in_rescue": _place(after),
        "boot_in_rescue": after and after["boot_order"],
        "change": _change(before, after),
    }


def _place(disk: Disk | None) -> str | None:
    if disk is None:
        return None
    return " ".join(disk[name] or "-" for name in ("device_name", "bus", "address"))


def _change(before: Disk | None, after: Disk | None) -> str:
    if before is None:
        return "added"
    if after is None:
        return "away"
    return "moves" if after["moved"] else "stays"
