"""A request as plain JSON, as the journal keeps it, and back."""

from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

RequestT = TypeVar("RequestT")


def plain(value: Any) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Return dataclasses as mappings and tuples as lists, through and through.

    Whatever else is in there is kept: a secret is for another to hide.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value


def built(request_type: type[RequestT], arguments: Mapping[str, Any]) -> RequestT:
    """Return the request whose plain JSON this is; it was checked when it came."""
    hints = _hints(cast("Hashable", request_type))
    found = {name: _read(hints.get(name), value) for name, value in arguments.items()}
    return request_type(**found)


@cache
def _hints(request_type: Hashable) -> Mapping[str, Any]:
    return get_type_hints(cast("type[Any]", request_type))


def _read(hint: Any, value: Any) -> Any:  # noqa: ANN401 - any hint, any JSON
    if is_dataclass(hint) and isinstance(value, Mapping):
        return built(cast("type[Any]", hint), value)
    if get_origin(hint) is tuple:
        return tuple(_read(get_args(hint)[0], one) for one in value)
    return value
