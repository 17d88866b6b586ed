"""blockworker watch: updates as they come."""

import argparse
import json
from collections.abc import Iterator
from typing import Any, Protocol

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_command
from worker.cmd.output import say
from worker.rpc.hearing import Hearing

LOOK = 0.2
"""Seconds after which a hole is seen, also while nothing is told."""


class Heard(Protocol):
    """What is asked of a hearing."""

    @property
    def bindings(self) -> int:
        """How often it began to hear."""

    def wait(self, seconds: float) -> dict[str, Any] | None:
        """Return the next update, None if there is none in that time."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    summary = "print updates of all hosts as they come"
    add_command(commands, Subcommand("watch", summary, watch, _options))


def watch(arguments: argparse.Namespace) -> int:
    """Print a line an update, until stopped or ``--count`` were seen."""
    with Hearing(wiring.bus_settings(options.read(arguments))) as hearing:
        for seen, update in enumerate(with_holes_said(hearing), start=1):
            print(json.dumps(update) if arguments.json else _line(update), flush=True)
            if seen == arguments.count:
                break
    return asking.DONE


def with_holes_said(hearing: Heard) -> Iterator[dict[str, Any]]:
    """Yield what is heard; where the broker was away, say that something may be missing."""
    known = hearing.bindings
    while True:
        update = hearing.wait(LOOK)
        if hearing.bindings != known:
            known = hearing.bindings
            say("the broker was away; what was told meanwhile is missing here")
        if update is not None:
            yield update


def _line(update: dict[str, Any]) -> str:
    told = update["payload"]
    device, fault = told["block_device"] or {}, told["fault"] or {}
    facts = {
        "host": told["host"],
        "sequence": told["sequence"],
        "instance": told["instance_uuid"],
        "device": device.get("device_name"),
        "operation": told["operation_id"],
        "code": fault.get("code"),
    }
    rest = " ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
    return f"{told['at']} {update['event_type']}: {rest}"


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, metavar="N", help="end after N updates")
