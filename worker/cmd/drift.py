"""blockworker drift: where the views of the block devices differ, and mending it."""

import argparse
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from worker.cmd import asking
from worker.cmd.commands import Subcommand, add_command
from worker.cmd.output import print_json, say, table
from worker.errors import WorkerError
from worker.model.ids import new_uuid

SETTLES_WITHIN = 10.0
LOOK_AGAIN = 0.2
"""Seconds; what takes longer is left out, and named as such."""

COLUMNS = ("instance_uuid", "device_name", "kind", "repair")
THINGS = ("instance_uuid", "kind", "thing", "repair")
VIEWS = (
    "alias",
    "row",
    "live",
    "persistent",
    "qemu",
    "attachment",
    "volume",
    "connection",
)

HELP = """Compare all views of each block device: our row, libvirt's live and persistent XML, the
volume service's attachment, this host's connection record and, with --qemu, QEMU
itself; and look for what volumes left on this host (iSCSI sessions, multipath maps,
NVMe controllers, mounts, exports, secrets). Each difference is printed with what a
repair would do, or with the reason why it would do nothing. What no row of ours names
is counted and never touched.

--repair has the running worker mend what it can, an operation for each instance,
and looks again. Nothing is taken from under a guest: of one that runs, a host is
disconnected or an attachment deleted only when QEMU was asked too (--qemu)."""

EPILOG = """exit status: 0 no drift, 1 failed, 2 wrong usage, 3 drift found; with --repair, 3 when
some of it is left. docs/drift.md explains each kind."""

Found = dict[str, Any]


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    summary = "find where the views of the block devices differ, and mend it"
    add_command(commands, Subcommand("drift", summary, drift, _options))


def drift(arguments: argparse.Namespace) -> int:
    """Look, and repair if asked to; exit 3 when anything differs in the end."""
    found = look(arguments)
    if arguments.repair and not arguments.dry_run:
        operations = repair(arguments, found["differences"])
        found = look_when_settled(arguments) | {"operations": operations}
    if arguments.json:
        print_json(found)
    else:
        print(described(found, offer=not arguments.repair or arguments.dry_run))
    return asking.FOUND if found["differences"] else asking.DONE


def look(arguments: argparse.Namespace) -> Found:
    """Return what ``find_drift`` finds, instance by instance, so that no answer takes long.

    Residue is the host's: it is looked for once, and last, for instances that are no more too.
    """
    instances = [arguments.instance]
    if arguments.instance is None:
        instances = [each["uuid"] for each in asking.read(arguments, "list_instances")]
    answers = [
        asking.read(arguments, "find_drift", instance_uuid=instance, qemu=arguments.qemu)
        for instance in instances
    ]
    residue = asking.read(arguments, "find_residue", instance_uuid=arguments.instance)
    return {
        "instances": len(answers),
        "differences": [each for answer in (*answers, residue) for each in answer["differences"]],
        "in_flux": [each for answer in answers for each in answer["in_flux"]],
        "foreign": sum(answer["foreign"] for answer in answers),
        "foreign_on_host": residue["foreign"],
        "not_read": residue["not_read"],
    }


def look_when_settled(arguments: argparse.Namespace) -> Found:
    """Look until nothing is left out for an operation that is at work, or for long enough.

    A repair may have found what the worker then takes up itself, a ghost say: to look meanwhile
    would be to call that no drift.
    """
    end = time.monotonic() + SETTLES_WITHIN
    found = look(arguments)
    while found["in_flux"] and time.monotonic() < end:
        time.sleep(LOOK_AGAIN)
        found = look(arguments)
    return found


def repair(
    arguments: argparse.Namespace, differences: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Run ``repair_drift`` where something can be mended; return how each run ended."""
    wanted = Counter(each["instance_uuid"] for each in differences if each["safe"])
    return [_repair_one(arguments, instance, number) for instance, number in wanted.items()]


def _repair_one(arguments: argparse.Namespace, instance: str, number: int) -> Mapping[str, Any]:
    say(f"instance {instance}: mending {_counted(number, 'difference')}")
    request = {"operation_id": new_uuid(), "instance_uuid": instance, "qemu": arguments.qemu}
    accepted = asking.ask(arguments, "repair_drift", **request)
    try:
        ended = asking.follow(arguments, accepted)
    except WorkerError as error:
        say(f"instance {instance}: {error} [{error.code}]")
        ended = asking.ask(arguments, "get_operation", operation_id=accepted["operation_id"])
    else:
        say(f"instance {instance}: done")
    return {name: ended[name] for name in ("operation_id", "instance_uuid", "state", "fault")}


def described(found: Found, *, offer: bool) -> str:
    """Lay out what was found, for people."""
    residue = [each for each in found["differences"] if each["thing"] is not None]
    differences = [each for each in found["differences"] if each["thing"] is None]
    parts = []
    if differences:
        parts += [table([_line(each) for each in differences], COLUMNS), ""]
        parts += [table(_views(differences), VIEWS), ""]
    if residue:
        parts += [table([_line(each) for each in residue], THINGS), ""]
    parts += [f"not looked at: {each}" for each in found["not_read"]]
    parts += [
        f"left out, operation {each['operation_id'] or '-'} is at work: block device"
        f" {each['bdm_uuid']} of instance {each['instance_uuid']}"
        for each in found["in_flux"]
    ]
    return "\n".join([*parts, _summary(found, offer=offer)])


def _line(difference: Mapping[str, Any]) -> Mapping[str, Any]:
    does = difference["repair"] or f"none: {difference['why_not']}"
    return {**difference, "repair": does}


def _views(differences: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what the views say, once a device."""
    rows = {
        (each["instance_uuid"], each["bdm_uuid"]): {"alias": each["alias"], **each["views"]}
        for each in differences
        if each["views"]
    }
    return list(rows.values()) or [{}]


def _summary(found: Found, *, offer: bool) -> str:
    differences = found["differences"]
    said = f"{_counted(found['instances'], 'instance')} looked at, "
    said += _counted(len(differences), "difference") if differences else "no drift"
    if differences and offer:
        said += f", {sum(each['safe'] for each in differences)} of which --repair would mend"
    if found["foreign"]:
        said += f"; {found['foreign']} disks or attachments are not ours"
    if found["foreign_on_host"]:
        said += f"; of sessions, maps and the like, {found['foreign_on_host']} not ours"
    return said


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _options(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = HELP, EPILOG
    parser.add_argument(
        "instance", nargs="?", metavar="INSTANCE", help="only this instance's (default: all)"
    )
    parser.add_argument(
        "--qemu",
        action="store_true",
        help="ask QEMU itself too, which marks a guest as tampered with (custom-monitor)",
    )
    parser.add_argument(
        "--repair", action="store_true", help="have the worker mend what is safe to mend"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="with --repair: only print what it would do"
    )
