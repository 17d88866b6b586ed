"""``python -m tests.bench``: measure, print a table, and write the figures if asked to."""

import argparse
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench import aliases, api, backlog, bare, cycles, idle_bus, instances, real_guest, rescue
from tests.bench.figures import Figure
from tests.services_rabbitmq import private_rabbitmq
from worker.cmd.output import table
from worker.rpc.bus import BusSettings

COLUMNS = ("what", "p50", "p99", "unit", "samples", "asked", "reached")

RESCUES = 30
"""Cycles of it at most: one takes seconds, and ends two guests."""

Part = Callable[[argparse.Namespace], list[Figure]]


def _rabbitmq(arguments: argparse.Namespace) -> list[Figure]:
    """Measure with the default settings of bus and database, all on one broker."""
    with private_rabbitmq() as broker, tempfile.TemporaryDirectory(prefix="bw-bench-") as name:
        folder = Path(name)
        settings = BusSettings(url=broker.url, host="bench")
        below = bare.measure(settings, folder, arguments.cycles)
        found = cycles.measure(settings, folder / "state", arguments.cycles, below.call)
        return [*below.figures, *found]


def _backlog(arguments: argparse.Namespace) -> list[Figure]:
    with private_rabbitmq() as broker, tempfile.TemporaryDirectory(prefix="bw-bench-") as name:
        settings = BusSettings(url=broker.url, host="bench")
        return backlog.measure(settings, Path(name) / "state", arguments.backlog)


def _instances(arguments: argparse.Namespace) -> list[Figure]:
    with private_rabbitmq() as broker, tempfile.TemporaryDirectory(prefix="bw-bench-") as name:
        settings = BusSettings(url=broker.url, host="bench")
        return instances.measure(settings, Path(name) / "state", arguments.instances)


def _api(arguments: argparse.Namespace) -> list[Figure]:
    with private_rabbitmq() as broker, tempfile.TemporaryDirectory(prefix="bw-bench-") as name:
        settings = BusSettings(url=broker.url, host="bench")
        return api.measure(settings, Path(name) / "state", arguments.cycles)


PARTS: Mapping[str, Part] = {
    "idle_bus": lambda _arguments: idle_bus.measure(seconds=5),
    "real_guest": lambda arguments: real_guest.measure(arguments.cycles),
    "rescue": lambda arguments: rescue.measure(min(arguments.cycles, RESCUES)),
    "rabbitmq": _rabbitmq,
    "api": _api,
    "backlog": _backlog,
    "instances": _instances,
    "aliases": lambda arguments: aliases.measure(arguments.instances),
}


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be repeated")
    parser.add_argument("--cycles", type=int, default=200, help="attach and detach so often")
    parser.add_argument("--backlog", type=int, default=backlog.ASKED, help="queue so many")
    parser.add_argument("--instances", type=int, default=instances.ASKED, help="have so many")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    figures = [figure for name in arguments.only or PARTS for figure in PARTS[name](arguments)]
    rows = [figure.row() for figure in figures]
    print(table(rows, COLUMNS))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2))


main()
