"""What a command prints: a table for people, JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def print_json(value: object) -> None:
    """Print the value as JSON, for programs."""
    print(json.dumps(value, indent=2, default=str))


def print_rows(rows: Sequence[Row], columns: Sequence[str], *, as_json: bool) -> None:
    """Print rows: the named columns as a table, or all fields as JSON."""
    if as_json:
        print_json(list(rows))
        return
    print(table(rows, columns))


def print_fields(row: Row, *, as_json: bool) -> None:
    """Print one thing: a field a line, or JSON."""
    if as_json:
        print_json(row)
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        print(f"{name:<{width}}  {_text(value)}")


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Lay rows out under headings; a missing value is a hyphen."""
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    heads = [column.replace("_", " ").upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [_line(heads, widths), *(_line(row, widths) for row in cells)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()


def _text(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict() | list():
            return json.dumps(value, default=str)
        case _:
            return str(value)


def say(text: str) -> None:
    """Tell a person how things go, beside what the command prints."""
    print(text, file=sys.stderr, flush=True)
