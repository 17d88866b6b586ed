"""``python -m tests.bench``: measure, print a table, and write the figures if asked to."""

import argparse
import json
import logging
from pathlib import Path

from tests.bench import idle_bus, real_guest
from worker.cmd.output import table

COLUMNS = ("what", "p50", "p99", "unit", "samples", "asked")


def main() -> None:
    """Measure everything there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    parser.add_argument("--cycles", type=int, default=100, help="attach and detach so often")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    figures = idle_bus.measure(seconds=5) + real_guest.measure(arguments.cycles)
    rows = [figure.row() for figure in figures]
    print(table(rows, COLUMNS))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2))


main()
