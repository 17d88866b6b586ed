#!/usr/bin/env python3
"""Fail for a relative link in a Markdown file that leads nowhere.

    tools/check_links.py

Looks at the files that git tracks; prints ``file:line: target`` for each such
link. Exits 1 when there is one.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:")
FENCE = "```"


def documents() -> list[Path]:
    """Return the Markdown files of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in listed.stdout.splitlines()]


def links(document: Path) -> Iterator[tuple[int, str]]:
    """Yield line number and target of each link outside of code."""
    fenced = False
    for number, line in enumerate(document.read_text().splitlines(), start=1):
        if line.lstrip().startswith(FENCE):
            fenced = not fenced
        elif not fenced:
            yield from ((number, target) for target in LINK.findall(line))


def leads_nowhere(document: Path, target: str) -> bool:
    """Tell whether a link's file is missing; anchors are not looked at."""
    path = target.partition("#")[0]
    if not path or ELSEWHERE.match(path):
        return False
    return not (document.parent / path).exists()


def main() -> int:
    """Print the links that lead nowhere."""
    dead = [
        f"{document.relative_to(ROOT)}:{number}: {target}"
        for document in documents()
        for number, target in links(document)
        if leads_nowhere(document, target)
    ]
    print("\n".join(dead), end="\n" if dead else "")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
