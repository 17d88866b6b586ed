"""blockworker instance adopt, forget, export and import."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.cmd import asking
from worker.cmd.output import print_fields, print_json, print_rows, say
from worker.errors import RequestMalformed

DISKS = ("device_name", "volume_id", "serial", "alias", "former_serial", "former_alias", "written")
PERIPHERALS = ("kind", "mac_address", "network", "host_device", "address", "alias")
CARRIED = ("device_name", "volume_id", "serial", "alias", "address")


def adopt(arguments: argparse.Namespace) -> int:
    """Take the domain into care, wait until its disks are marked, and say what was done."""
    answer = asking.ask(
        arguments, "adopt_instance", domain=arguments.domain, dry_run=arguments.dry_run
    )
    if answer["operation_id"] is not None:
        asking.follow(arguments, answer)
    if arguments.json:
        print_json(answer)
        return asking.DONE
    disks, others = answer.pop("block_devices"), answer.pop("peripherals")
    left_out = answer.pop("left_out")
    print_fields(answer, as_json=False)
    for rows, columns in ((disks, DISKS), (others, PERIPHERALS)):
        if rows:
            print()
            print_rows(rows, columns, as_json=False)
    for target, why in left_out.items():
        say(f"{target} is left out: {why}")
    return asking.DONE


def forget(arguments: argparse.Namespace) -> int:
    """Let the instance go; its guest goes on."""
    done = asking.carry_out(arguments, "forget_instance", instance_uuid=arguments.instance)
    if arguments.json:
        print_fields(done, as_json=True)
    return asking.DONE


def export(arguments: argparse.Namespace) -> int:
    """Let go of domain and connections, if asked; then print the document.

    The worker keeps that of an instance that was released: what was not printed is asked for again.
    """
    if arguments.release:
        asking.carry_out(arguments, "release_instance", instance_uuid=arguments.instance)
    document = asking.ask(arguments, "export_instance", instance_uuid=arguments.instance)
    print_json(document)
    sys.stdout.flush()
    if document["released"] is None:
        say("not released: an import takes this by force only; export it with --release")
    else:
        say("released: it is for another host to import, and then to be forgotten here")
    return asking.DONE


def bring_in(arguments: argparse.Namespace) -> int:
    """Take the instance of a document in, or only say whether it could be."""
    document = _document(arguments.file)
    asked = json.dumps(document)
    wanted = {"document": asked, "force": arguments.force}
    found = asking.ask(arguments, "check_import", **wanted)
    if not arguments.dry_run:
        asking.carry_out(arguments, "import_instance", instance_uuid=found["uuid"], **wanted)
        found = {
            **asking.read(arguments, "get_instance", instance_uuid=found["uuid"]),
            "block_devices": asking.read(
                arguments, "list_block_devices", instance_uuid=found["uuid"]
            ),
        }
    _print(found, as_json=arguments.json)
    return asking.DONE


def _print(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            name: value
            for name, value in found.items()
            if name not in ("block_devices", "peripherals")
        },
        as_json=False,
    )
    print()
    print_rows(found["block_devices"], CARRIED, as_json=False)


def _document(path: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read as JSON: {error}"
        raise RequestMalformed(message) from error


def adopt_options(parser: argparse.ArgumentParser) -> None:
    """Add what adopt takes."""
    parser.add_argument("domain", metavar="DOMAIN", help="the domain's name or uuid")
    _dry_run(parser)


def export_options(parser: argparse.ArgumentParser) -> None:
    """Add what export takes."""
    parser.add_argument("instance", metavar="INSTANCE", help="the instance's uuid")
    parser.add_argument(
        "--release",
        action="store_true",
        help="first let go of its domain and connections, so that another host can have it",
    )


def import_options(parser: argparse.ArgumentParser) -> None:
    """Add what import takes."""
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="what export has printed; - is stdin"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="take it in though its host has not released it: for a host that is dead, and stays so"
        " until it has forgotten the instance; else two hosts write to the same disks",
    )
    _dry_run(parser)


def _dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
