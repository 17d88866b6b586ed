"""Queries and bodies against the schemas of their route."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from worker.api.asked import Refused, Version
from worker.api.route import Route, Schema, latest
from worker.api.schemas.strict_json import check_text, parsed

LONGEST_WORD = 200

MOST_PARAMETERS = 100


def checked_query(route: Route, text: str, version: Version) -> Mapping[str, Any]:
    """Return the query, each name with its values' list; raises Refused (400).

    A route without a schema takes any query and looks at none, as Nova did before 2.75.
    """
    schema = latest(route.query, version)
    if schema is None:
        return {}
    found: dict[str, list[str]] = {}
    for name, value in _pairs(text):
        check_text(name, "the query")
        check_text(value, f"query parameter {name[:LONGEST_WORD]}")
        found.setdefault(name, []).append(value)
    _check(schema, found, "query")
    return found


def checked_body(route: Route, body: bytes, version: Version) -> Any:  # noqa: ANN401 - JSON
    """Return the body; raises Refused (400)."""
    schema = latest(route.body, version)
    if schema is None:
        if body and route.body:
            raise Refused(400, f"this request takes no body at microversion {version}")
        return None
    found = parsed(body)
    _check(schema, found, "body")
    return found


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError as error:
        message = f"the query has more than {MOST_PARAMETERS} parameters"
        raise Refused(400, message) from error


def _check(schema: Schema, value: Any, what: str) -> None:  # noqa: ANN401 - JSON
    error = best_match(_validator(schema).iter_errors(value))
    if error is None:
        return
    at = "/".join(str(each) for each in error.absolute_path)[:LONGEST_WORD]
    where = f"{what} {at}" if at else what
    twice = what == "query" and error.validator == "maxItems"
    message = "it stands more than once" if twice else error.message[:LONGEST_WORD]
    raise Refused(400, f"Invalid input for {where}: {message}")


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    """Return a schema's pattern in Python's words: for ECMA ``$`` is the very end."""
    closed = text.endswith("$") and not text.endswith("\\$")
    return re.compile(text[:-1] + r"\Z" if closed else text, re.ASCII)


def _matches(
    _validator: object, pattern: str, value: object, _schema: object
) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _pattern(pattern).search(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator: Any = extend(Draft202012Validator, {"pattern": _matches})  # type: ignore[no-untyped-call]

_VALIDATORS: dict[int, Any] = {}
"""By the identity of their schema, which each keeps alive: no other one gets that identity."""


def _validator(schema: Schema) -> Any:  # noqa: ANN401 - jsonschema has no name for an extended one
    found = _VALIDATORS.get(id(schema))
    if found is None:
        found = _Validator(schema, format_checker=FormatChecker())
        _VALIDATORS[id(schema)] = found
    return found
