"""From the arguments of a message to a request, or an error that names all that does not fit.

What a message says is never repeated in an error: an argument of the wrong type may be a secret.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache, partial
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from worker.errors import RequestMalformed
from worker.model.ids import (
    AttachmentId,
    BlockDeviceId,
    ImageId,
    InstanceId,
    OperationId,
    PeripheralId,
    PortId,
    VolumeId,
    is_uuid,
)
from worker.model.secret import Secret, check_secret

RequestT = TypeVar("RequestT")

IDS = (
    AttachmentId,
    BlockDeviceId,
    InstanceId,
    OperationId,
    PeripheralId,
    PortId,
    VolumeId,
)
# As long as the table has room for. An image service may name images as it likes.
IMAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}")
MOST = 64
"""So many things of one kind a request may list; more is no request but an accident."""

SHOWN = 64
"""So much of a name that the caller made up is repeated to him."""

Read = Callable[[object], object]


class Inside(RequestMalformed):
    """Something within an argument does not fit; each problem begins with the way to it."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems apart, for who puts his own name in front of each."""
        super().__init__("; ".join(problems))
        self.problems = problems


def request_from(request_type: type[RequestT], arguments: Mapping[str, Any]) -> RequestT:
    """Build the request; raises RequestMalformed that names every argument that does not fit."""
    values, problems = _values(request_type, arguments)
    if problems:
        raise RequestMalformed("; ".join(problems))
    return request_type(**values)


def uuid_in(value: object) -> str | None:
    """Return a UUID in lower case: upper case is another way to write it; no other form is."""
    text = value.lower() if isinstance(value, str) else ""
    return text if is_uuid(text) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    required: bool
    read: Read


@cache
def _shape(request_type: Hashable) -> Mapping[str, _Field]:
    shaped = cast("type[Any]", request_type)
    hints = get_type_hints(shaped)
    return {
        field.name: _Field(
            required=field.default is MISSING and field.default_factory is MISSING,
            read=_reader(hints[field.name]),
        )
        for field in fields(shaped)
    }


def _values(
    request_type: type[Any], arguments: Mapping[str, Any]
) -> tuple[dict[str, object], list[str]]:
    shape = _shape(cast("Hashable", request_type))
    problems = [f"{_shown(name)} is unknown" for name in arguments if name not in shape]
    values = {}
    for name, field in shape.items():
        if name not in arguments:
            problems += [f"{name} is missing"] if field.required else []
            continue
        try:
            values[name] = field.read(arguments[name])
        except RequestMalformed as error:
            problems += _named(name, error)
    return values, problems


def _named(name: str, error: RequestMalformed) -> list[str]:
    if isinstance(error, Inside):
        return [f"{name}{problem}" for problem in error.problems]
    return [f"{name} {error}"]


def _reader(hint: Any) -> Read:  # noqa: ANN401 - a type hint has no type
    options = get_args(hint)
    if NoneType in options:
        (inner,) = (option for option in options if option is not NoneType)
        plain = _reader(inner)
        return lambda value: None if value is None else plain(value)
    if get_origin(hint) is tuple:
        return partial(_read_list, _reader(options[0]))
    if get_origin(hint) is Mapping:
        return _read_texts
    if is_dataclass(hint):
        return partial(_read_part, cast("type[Any]", hint))
    return READERS[hint]


def _read_part(part: type[Any], value: object) -> object:
    if not isinstance(value, Mapping):
        raise RequestMalformed(f"must be a mapping, not {_kind(value)}")
    values, problems = _values(part, value)
    if problems:
        raise Inside([f".{problem}" for problem in problems])
    return part(**values)


def _read_list(read: Read, value: object) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise RequestMalformed(f"must be a list, not {_kind(value)}")
    if len(value) > MOST:
        raise RequestMalformed(f"has {len(value)} entries; {MOST} are the most")
    found, problems = [], []
    for place, one in enumerate(value):
        try:
            found.append(read(one))
        except RequestMalformed as error:
            problems += _named(f"[{place}]", error)
    if problems:
        raise Inside(problems)
    return tuple(found)


def _read_texts(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise RequestMalformed(f"must be a mapping, not {_kind(value)}")
    texts, problems = {}, []
    for name, one in value.items():
        try:
            texts[_read_str(name)] = _read_str(one)
        except RequestMalformed as error:
            problems.append(f"[{_shown(str(name))}] {error}")
    if problems:
        raise Inside(problems)
    return texts


def _read_id(value: object) -> str:
    found = uuid_in(value)
    if found is None:
        raise RequestMalformed("is no UUID")
    return found


def _read_image_id(value: object) -> str:
    text = _read_str(value)
    if IMAGE_ID.fullmatch(text) is None:
        raise RequestMalformed("is no id of an image: 36 letters, digits, '.', '_', '-' at most")
    return text


def _read_secret(value: object) -> Secret:
    text = _read_str(value)
    check_secret(text)
    return Secret(text)


def _read_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise RequestMalformed(f"must be true or false, not {_kind(value)}")
    return value


def _read_int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestMalformed(f"must be an integer, not {_kind(value)}")
    if not -(2**63) <= value < 2**63:
        raise RequestMalformed("is out of range")
    return value


def _read_str(value: object) -> str:
    if not isinstance(value, str):
        raise RequestMalformed(f"must be a string, not {_kind(value)}")
    if "\0" in value or not _encodable(value):
        raise RequestMalformed("has a character that no text has")
    return value


READERS: Mapping[Any, Read] = {
    **dict.fromkeys(IDS, _read_id),
    ImageId: _read_image_id,
    Secret: _read_secret,
    bool: _read_bool,
    int: _read_int,
    str: _read_str,
}


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    names |= {NoneType: "null", list: "a list", dict: "a mapping"}
    return names.get(type(value), "something else")


def _shown(name: str) -> str:
    return repr(name if len(name) <= SHOWN else f"{name[:SHOWN]}…")
