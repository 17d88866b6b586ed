"""blockworker instance migrate-aliases and export-xml: the handles of devices, and their text."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from worker.cmd import asking
from worker.cmd.output import print_json, say, table
from worker.errors import WorkerError
from worker.model.identity.migrating import Result
from worker.model.instance import TaskState

COLUMNS = ("instance_uuid", "name", "kind", "found_by", "former_alias", "alias", "result")
NOT_BORNE = (Result.ABSENT, Result.SKIPPED)

HELP = """Have every device of the next start bear the alias of its row, by which it is found from
then on: disks, interfaces and host devices of instances that came from an older
release, or whose XML other hands have defined anew. A worker does the same when it
starts. The running guest keeps what it has until its next cold start."""

EPILOG = """exit status: 0 every device bears its alias, 1 failed, 2 wrong usage, 3 one is
absent or was skipped; the reasons are printed. With --dry-run 0 and 3 say what a run would
come to."""

Device = dict[str, Any]


def migrate_aliases(arguments: argparse.Namespace) -> int:
    """Give what is missing, an operation for each instance that lacks any; print each device."""
    devices: list[Device] = []
    failed: list[Mapping[str, str]] = []
    for instance in _instances(arguments):
        try:
            devices += _migrated(arguments, instance)
        except WorkerError as error:
            say(f"instance {instance}: {error} [{error.code}]")
            failed.append({"instance_uuid": instance, "code": error.code, "message": str(error)})
    if arguments.json:
        print_json({"dry_run": arguments.dry_run, "devices": devices, "failed": failed})
    else:
        _print(devices, dry_run=arguments.dry_run)
    if failed:
        return asking.FAILED
    return asking.FOUND if any(one["result"] in NOT_BORNE for one in devices) else asking.DONE


def export_xml(arguments: argparse.Namespace) -> int:
    """Print the persistent layout of an instance."""
    answer = asking.read(
        arguments,
        "export_xml",
        instance_uuid=arguments.instance,
        without_aliases=arguments.without_aliases,
    )
    if arguments.json:
        print_json(answer)
    else:
        print(answer["domain_xml"].rstrip())
    return asking.DONE


def _instances(arguments: argparse.Namespace) -> list[str]:
    """The hypervisor of a host that has released an instance knows it no more."""
    if arguments.instance is not None:
        return [arguments.instance]
    known = asking.read(arguments, "list_instances")
    return [one["uuid"] for one in known if one["task_state"] != TaskState.RELEASED]


def _migrated(arguments: argparse.Namespace, instance: str) -> list[Device]:
    before = _look(arguments, instance)
    if arguments.dry_run or not any(one["result"] == Result.GIVEN for one in before):
        return before
    asking.carry_out(arguments, "migrate_aliases", instance_uuid=instance)
    after = {one["uuid"]: one for one in _look(arguments, instance)}
    return [_told(one, after.get(one["uuid"])) for one in before]


def _look(arguments: argparse.Namespace, instance: str) -> list[Device]:
    answer = asking.read(arguments, "check_aliases", instance_uuid=instance)
    return [{"instance_uuid": instance, **one} for one in answer["devices"]]


def _told(before: Device, after: Device | None) -> Device:
    """A device was given its alias if it bears it now; else what is to be said is new."""
    if before["result"] != Result.GIVEN or (after and after["result"] == Result.BORNE):
        return before
    return after or before | {"result": Result.ABSENT, "why": "it is gone since"}


def _print(devices: Sequence[Device], *, dry_run: bool) -> None:
    print(table(devices, COLUMNS))
    for one in devices:
        if one["why"] is not None:
            say(f"{one['kind']} {one['name']} of instance {one['instance_uuid']}: {one['why']}")
    counted = Counter(one["result"] for one in devices)
    numbers = ", ".join(f"{counted[result]} {result}" for result in Result)
    say(f"{numbers}{'; nothing was changed' if dry_run else ''}")


def migrate_options(parser: argparse.ArgumentParser) -> None:
    """Add what migrate-aliases takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = HELP, EPILOG
    parser.add_argument(
        "instance", nargs="?", metavar="INSTANCE", help="only this instance's (default: all)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")


def export_xml_options(parser: argparse.ArgumentParser) -> None:
    """Add what export-xml takes."""
    parser.add_argument("instance", metavar="INSTANCE", help="the instance's uuid")
    parser.add_argument(
        "--without-aliases",
        action="store_true",
        help="without the aliases of its devices (ua-…), for a host that knows nothing of them",
    )
