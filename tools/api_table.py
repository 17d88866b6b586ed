#!/usr/bin/env python3
"""Write the tables of requests in docs/api.md from the API's own table.

    tools/api_table.py [--check]

With --check nothing is written; exits 1 where the document is not what the routes say. Run it with
the interpreter of .venv.
"""

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from worker.api.microversions import RANGES  # noqa: E402 - found by the line above
from worker.api.route import Route, Service  # noqa: E402
from worker.api.routes import ROUTES  # noqa: E402

PAGE = ROOT / "docs" / "api.md"
BEGIN, END = "<!-- requests: written by tools/api_table.py -->\n", "<!-- /requests -->\n"

TITLES = {
    Service.COMPUTE: "Compute, as Nova's",
    Service.VOLUME: "Block storage, as Cinder's",
    Service.IMAGE: "Images, as Glance's",
    Service.IDENTITY: "Identity, as Keystone's",
    Service.OWN: "Our own",
}
ANYBODY = "anybody"


def tables() -> Iterator[str]:
    """Yield the lines, a table for each service that has requests."""
    for service, title in TITLES.items():
        routes = [route for route in ROUTES if route.service is service]
        if routes:
            yield f"#### {title}\n"
            yield "| request | does | rule | microversions | answers |\n|---|---|---|---|---|"
            yield from map(row, routes)
            yield ""


def row(route: Route) -> str:
    """Return the line of one request."""
    rule = ANYBODY if route.rule is None else f"`{route.rule}`"
    answers = ", ".join(str(status) for status in route.answers)
    where = f"`{route.method} {route.path}`"
    return f"| {where} | {route.does} | {rule} | {microversions(route)} | {answers} |"


def microversions(route: Route) -> str:
    """Return where it begins and ends, and at which its query or body changes."""
    if route.service not in RANGES:
        return "-"
    major = RANGES[route.service][0].major
    begins = f"from {major}.{route.since}" if route.since > RANGES[route.service][0].minor else ""
    ends = f"until {major}.{route.until}" if route.until is not None else ""
    minors = sorted({each.minor for each in (*route.query, *route.body)})
    changed = [f"{major}.{minor}" for minor in minors if minor > max(route.since, 1)]
    changes = f"changed in {', '.join(changed)}" if changed else ""
    return "; ".join(filter(None, (begins, ends, changes))) or "all"


def main() -> int:
    """Write, or compare."""
    text = PAGE.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        print(f"{PAGE}: the marks of the tables are gone", file=sys.stderr)
        return 1
    fresh = "".join([before, BEGIN, "\n", "\n".join(tables()), "\n", END, after])
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(fresh)
        return 0
    differing = list(
        difflib.unified_diff(
            text.splitlines(), fresh.splitlines(), "docs/api.md", "the routes", lineterm=""
        )
    )
    if differing:
        print(*differing, "docs/api.md is not what the routes say; run: tox -e apitable", sep="\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
