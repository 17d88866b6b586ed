"""blockworker doctor: whether this host is fit for what the worker is going to do on it."""

import argparse
import logging
from collections.abc import Iterator
from typing import Any

from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_command
from worker.cmd.output import print_json, say
from worker.health.checks.examine import Found
from worker.model.finding import Verdict, worst
from worker.wiring import doctor as checks

SECONDS = 5.0
"""Which one check may take: all are made at once."""

STATUS = {Verdict.OK: asking.DONE, Verdict.WARNING: asking.FOUND, Verdict.FAILED: asking.FAILED}

HELP = """Look at what the worker stands on: broker, database, libvirt and QEMU, the volume
service, the programs and daemons of storage, folders and room. Each line is ok, a
warning or failed, with what to do. It is looked at with a running worker or without,
and nothing is changed."""

EPILOG = """exit status: 0 all is well, 1 something has failed, 2 wrong usage, 3 there are warnings.
docs/doctor.md explains each check."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    summary = "find what is missing or unsafe on this host"
    add_command(commands, Subcommand("doctor", summary, doctor, _options))


def doctor(arguments: argparse.Namespace) -> int:
    """Look at everything; exit by the worst that was found."""
    # What libraries log of a part that does not answer is said in a line of its own.
    logging.getLogger().addHandler(logging.NullHandler())
    conf = options.read(arguments)
    found = checks.look(conf, seconds=arguments.timeout, patience=asking.PATIENCE, tell=_waits)
    verdict = worst(each.verdict for findings in found.values() for each in findings)
    if arguments.json:
        print_json({"verdict": verdict.value, "findings": list(_rows(found))})
    else:
        print("\n".join(_lines(found)))
    return STATUS[verdict]


def _waits(names: tuple[str, ...]) -> None:
    say(f"still looking at: {', '.join(names)}")


def _rows(found: Found) -> Iterator[dict[str, Any]]:
    for name, findings in found.items():
        for each in findings:
            yield {
                "check": name,
                "verdict": each.verdict.value,
                "said": each.said,
                "do": each.do,
            }


def _lines(found: Found) -> Iterator[str]:
    wide = max(map(len, found))
    for row in _rows(found):
        yield f"{row['verdict']:<7}  {row['check']:<{wide}}  {row['said']}"
        if row["do"] is not None:
            yield f"{'':<7}  {'':<{wide}}  do: {row['do']}"


def _options(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = HELP, EPILOG
    parser.add_argument(
        "--timeout",
        type=float,
        default=SECONDS,
        metavar="SECONDS",
        help=f"what one check may take (default: {SECONDS:g}); all are made at once",
    )
