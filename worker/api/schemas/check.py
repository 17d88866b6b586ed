"""Queries and bodies against the schemas of their route."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

from worker.api.asked import Refused, Version
from worker.api.route import Route, Schema, latest

LONGEST_WORD = 200


def checked_query(route: Route, text: str, version: Version) -> Mapping[str, Any]:
    """Return the query, each name with its values' list; raises Refused (400).

    A route without a schema takes any query and looks at none, as Nova did before 2.75.
    """
    schema = latest(route.query, version)
    if schema is None:
        return {}
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    _check(schema, found, "query")
    return found


def checked_body(route: Route, body: bytes, version: Version) -> Any:  # noqa: ANN401 - JSON
    """Return the body; raises Refused (400)."""
    schema = latest(route.body, version)
    if schema is None:
        if body and route.body:
            raise Refused(400, "this request takes no body")
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON: {error}") from error
    _check(schema, found, "body")
    return found


def _check(schema: Schema, value: Any, what: str) -> None:  # noqa: ANN401 - JSON
    error = best_match(_validator(schema).iter_errors(value))
    if error is None:
        return
    at = "/".join(str(each) for each in error.absolute_path)
    where = f"{what} {at}" if at else what
    raise Refused(400, f"Invalid input for {where}: {error.message[:LONGEST_WORD]}")


_VALIDATORS: dict[int, Draft202012Validator] = {}
"""By the identity of their schema, which the table of routes keeps for good."""


def _validator(schema: Schema) -> Draft202012Validator:
    found = _VALIDATORS.get(id(schema))
    if found is None:
        found = Draft202012Validator(schema, format_checker=FormatChecker())
        _VALIDATORS[id(schema)] = found
    return found
