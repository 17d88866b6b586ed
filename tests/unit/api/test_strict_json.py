"""JSON that two readers would take in two ways is refused."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.api.asked import Refused
from worker.api.schemas import strict_json
from worker.api.schemas.strict_json import DEEPEST, LARGEST, LONGEST, parsed

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
PLAIN = st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | TEXT
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


@given(VALUES)
def test_what_json_says_is_what_is_read(value: object) -> None:
    assert parsed(json.dumps(value).encode()) == value


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(Refused):
        parsed(body)


@pytest.mark.parametrize("text", ["1.0", "1e2", "-0.0"])
def test_a_whole_number_is_an_integer_however_it_is_written(text: str) -> None:
    assert isinstance(parsed(text.encode()), int)


def test_a_part_of_one_stays() -> None:
    assert parsed(b"1.5") == 1.5


def test_the_deepest_is_taken_and_one_more_is_not() -> None:
    assert parsed(b"[" * DEEPEST + b"]" * DEEPEST)
    with pytest.raises(Refused, match="nested more than 32 deep"):
        parsed(b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2))


@pytest.mark.parametrize("number", [LARGEST + 1, -LARGEST - 1])
def test_a_number_beyond_columns_is_refused(number: int) -> None:
    with pytest.raises(Refused, match="beyond 64 bits"):
        parsed(str(number).encode())


def test_the_name_that_stands_twice_is_found_in_one_look() -> None:
    """Each name is compared with few others, however many there are."""
    compared = 0

    class Name(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    names = [Name(f"n{number}") for number in range(500)]
    with pytest.raises(ValueError, match=r"'n499' stands twice"):
        strict_json._object([(name, 0) for name in [*names, Name("n499")]])  # noqa: SLF001
    assert compared < 10 * len(names)


@pytest.mark.parametrize("inner", [list(range(LONGEST)), {str(n): n for n in range(LONGEST)}])
def test_the_longest_is_taken_and_one_more_is_not(inner: list[int] | dict[str, int]) -> None:
    assert parsed(json.dumps({"a": inner}).encode()) == {"a": inner}
    longer = [*inner, 0] if isinstance(inner, list) else inner | {"one": "more"}
    with pytest.raises(Refused, match=f"more than {LONGEST} items"):
        parsed(json.dumps({"a": longer}).encode())
