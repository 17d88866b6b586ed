"""blockworker operation: what was asked of this host and what became of it."""

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from worker.cmd import asking
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_fields, print_rows, table
from worker.errors import OperationCancelled
from worker.model.operation import OperationState

COLUMNS = (
    "operation_id",
    "method",
    "instance_uuid",
    "state",
    "progress",
    "accepted_at",
    "fault",
)
WIDTH = 40
"""Characters that stand for the whole time, first step to last."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_commands(
        commands,
        "operation",
        "the operations of this host",
        [
            Subcommand("list", "list operations, newest first", show_all, _filters),
            Subcommand("show", "show an operation and the time line of its steps", show, _id),
            Subcommand("retry", "run a stuck operation again and wait for its end", retry, _id),
            Subcommand("cancel", "cancel one that waits or copies, wait for its end", cancel, _id),
            Subcommand("abandon", "give up a stuck operation that you cleared up", abandon, _id),
        ],
    )


def show_all(arguments: argparse.Namespace) -> int:
    """List operations."""
    rows = asking.read(
        arguments,
        "list_operations",
        instance_uuid=arguments.instance,
        state=arguments.state,
        limit=arguments.limit,
    )
    if not arguments.json:
        rows = [row | {"fault": row["fault"] and row["fault"]["code"]} for row in rows]
    print_rows(rows, COLUMNS, as_json=arguments.json)
    return asking.DONE


def show(arguments: argparse.Namespace) -> int:
    """Show one operation."""
    found = asking.read(arguments, "get_operation", operation_id=arguments.id)
    if arguments.json:
        print_fields(found, as_json=True)
        return asking.DONE
    steps, off = found.pop("steps"), found.pop("seconds_without_guest", None)
    print_fields(found, as_json=False)
    if steps:
        print()
        print(timeline(steps, off))
    return asking.DONE


def retry(arguments: argparse.Namespace) -> int:
    """Run a stuck operation again; say how it ended."""
    accepted = asking.ask(arguments, "retry_operation", operation_id=arguments.id)
    found = asking.follow(arguments, accepted)
    _print_end(found, "it was run again to its end", as_json=arguments.json)
    return asking.DONE


def cancel(arguments: argparse.Namespace) -> int:
    """Ask for the end of an operation; fail if it came too late for that."""
    accepted = asking.ask(arguments, "cancel_operation", operation_id=arguments.id)
    try:
        found = asking.follow(arguments, accepted)
    except OperationCancelled:
        found = asking.read(arguments, "get_operation", operation_id=arguments.id)
        _print_end(found, "it was cancelled", as_json=arguments.json)
        return asking.DONE
    _print_end(found, "it was too late to cancel it", as_json=arguments.json)
    return asking.FAILED


def abandon(arguments: argparse.Namespace) -> int:
    """Give a stuck operation up; say what was decided of its device."""
    found = asking.ask(arguments, "abandon_operation", operation_id=arguments.id)
    _print_end(found, found["message"], as_json=arguments.json)
    return asking.DONE


def _print_end(found: Mapping[str, Any], message: str, *, as_json: bool) -> None:
    if as_json:
        print_fields(found, as_json=True)
        return
    print(f"operation {found['operation_id']} ({found['method']}) {found['state']}: {message}")


def timeline(steps: Sequence[Mapping[str, Any]], off: float | None = None) -> str:
    """Lay the steps out from the begin of the first, each with a bar where and as long as it ran.

    A pause between two, or a death, shows as a gap. ``off`` is for how many seconds no guest ran.
    """
    spans = [_span(step) for step in steps]
    first = spans[0][0]
    whole = max(end for _, end in spans) - first or 1.0
    rows = [
        {
            "number": step["number"],
            "attempt": step["attempt"],
            "name": step["name"],
            "at_ms": f"{(begin - first) * 1000:.1f}",
            "ms": "" if step["seconds"] is None else f"{step['seconds'] * 1000:.1f}",
            "outcome": step["fault"]["code"] if step["fault"] else step["outcome"],
            "time": _bar((begin - first) / whole, (end - begin) / whole),
        }
        for step, (begin, end) in zip(steps, spans, strict=True)
    ]
    laid = table(rows, ("number", "attempt", "name", "at_ms", "ms", "outcome", "time"))
    return laid if off is None else f"{laid}\n\nwithout a running guest: {off:.3f} s"


def _span(step: Mapping[str, Any]) -> tuple[float, float]:
    begin = datetime.fromisoformat(step["started_at"]).timestamp()
    return begin, begin + (step["seconds"] or 0.0)


def _bar(begin: float, length: float) -> str:
    """Draw a part of the whole; the shortest is one mark."""
    start = min(round(begin * WIDTH), WIDTH - 1)
    return " " * start + "#" * max(1, min(round(length * WIDTH), WIDTH - start))


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--instance", metavar="UUID", help="only those of this instance")
    parser.add_argument("--state", choices=list(OperationState), help="only those in this state")
    parser.add_argument("--limit", type=int, default=50, help="at most so many (default: 50)")


def _id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="UUID", help="the operation's id")
