"""JSON as a request may have it: what one reader would take otherwise than the next is refused."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from worker.api.asked import Json, Refused

DEEPEST = 32
"""Objects and lists within one another; no request needs ten."""

LONGEST = 1024
"""Items of a list, or names of an object; no request takes more. A schema is slow to refuse each of
fifty thousand, and anybody may send them, without a token."""

LARGEST = 2**63 - 1
"""No database has a column for more."""


def parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return what the body says; raises Refused (400).

    ``1.0`` is 1, as JSON schemas have it. Refused are also a name that stands twice in an object,
    NaN and the infinities, what is nested too deep or lists too much, integers beyond 64 bits, and
    text that no database takes: NUL, and halves of a surrogate pair.
    """
    if not body.strip():
        raise Refused(400, "the body is empty: this request needs one, in JSON")
    try:
        found = json.loads(
            body.decode(),
            parse_constant=_no_number,
            parse_float=_number,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is no UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise Refused(400, _TOO_DEEP) from error
    except ValueError as error:
        raise Refused(400, f"the body is no JSON: {str(error)[:200]}") from error
    _check(found)
    return found


_TOO_DEEP = f"the body is no JSON that is taken: nested more than {DEEPEST} deep"


def _no_number(word: str) -> None:
    message = f"{word} is no number in JSON"
    raise ValueError(message)


def _number(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        message = "a number is too large"
        raise ValueError(message)
    return int(found) if found.is_integer() else found


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Counted in one go: anybody may send names by the thousand, without a token.
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        message = f"{twice[:60]!r} stands twice in one object"
        raise ValueError(message)
    return found


def _check(found: object) -> None:
    for value, depth in _all_in(found):
        if depth > DEEPEST:
            raise Refused(400, _TOO_DEEP)
        if isinstance(value, str):
            check_text(value, "the body")
        elif isinstance(value, int) and abs(value) > LARGEST:
            raise Refused(400, "the body has an integer beyond 64 bits")
        elif isinstance(value, list | dict) and len(value) > LONGEST:
            raise Refused(400, f"the body has a list or object of more than {LONGEST} items")


def _all_in(found: object) -> Iterator[tuple[object, int]]:
    """Yield each value with its depth; no recursion, however deep it goes."""
    left = [(found, 0)]
    while left:
        value, depth = left.pop()
        yield value, depth
        if isinstance(value, dict):
            left += [(each, depth + 1) for pair in value.items() for each in pair]
        elif isinstance(value, list):
            left += [(each, depth + 1) for each in value]


def check_text(text: str, where: str) -> None:
    """Raise Refused (400) for text that cannot be kept."""
    if "\0" in text:
        raise Refused(400, f"{where} has a NUL character, which no text may have")
    if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
        raise Refused(400, f"{where} has half a surrogate pair, which is no character")
