"""Every error has a code of its own, a family, and a line in the docs."""

import inspect
from pathlib import Path

from worker import errors

DOCS = Path(__file__).parents[2] / "docs" / "errors.md"
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.WorkerError)
]
FAMILIES = (
    errors.Invalid,
    errors.NotFound,
    errors.Conflict,
    errors.Unavailable,
    errors.LeftBehind,
)


def test_no_code_is_used_twice() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(codes) == len(set(codes))


def test_every_error_belongs_to_one_family() -> None:
    for kind in set(KINDS) - {errors.WorkerError}:
        assert sum(issubclass(kind, family) for family in FAMILIES) == 1, kind


def test_every_code_has_a_line_in_the_docs_and_every_line_a_code() -> None:
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    documented = {line.split("`")[1] for line in lines}
    assert documented == {kind.code for kind in KINDS}
