"""Message and dataclass, each made from the other; nothing but typed errors comes out of here.

What a message says is never repeated in an error: an argument of the wrong type may be a secret.
"""

import json
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from functools import cache
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_type_hints

from worker.errors import RequestMalformed, VersionUnsupported
from worker.model.ids import (
    AttachmentId,
    BlockDeviceId,
    InstanceId,
    OperationId,
    VolumeId,
    is_uuid,
    new_uuid,
)
from worker.model.secret import Secret
from worker.model.update import OutboxEntry
from worker.rpc.methods import VERSION

RequestT = TypeVar("RequestT")

ENVELOPE_VERSION = "2.0"
IDS = (AttachmentId, BlockDeviceId, InstanceId, OperationId, VolumeId)
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
SHOWN = 64
"""So much of a name that the caller made up is repeated to him."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is kept of a message; tokens and the rest of its context are not."""

    method: str
    arguments: Mapping[str, Any]
    version: str = VERSION
    request_id: str | None = None


def envelope_in(body: bytes | str) -> Message:
    """Read a message off the wire, with or without oslo.messaging's envelope.

    Raises RequestMalformed when it cannot be read; its version is not looked at.
    """
    fields_in = _opened(_parsed(body))
    context = {
        name.removeprefix("_context_"): value
        for name, value in fields_in.items()
        if name in ("_context_request_id", "_context_global_request_id")
    }
    return message_in(fields_in, context)


def message_in(message: Mapping[str, Any], context: Mapping[str, Any]) -> Message:
    """Take from a message without its envelope what is ours; raises RequestMalformed."""
    method = message.get("method")
    if not isinstance(method, str):
        raise RequestMalformed("the message names no method")
    arguments = message.get("args", {})
    if not isinstance(arguments, Mapping):
        raise RequestMalformed("the arguments are no mapping")
    version = message.get("version", "1.0")
    return Message(
        method=method,
        arguments=arguments,
        version=version if isinstance(version, str) else "",
        request_id=_request_id(context),
    )


def without_context(body: bytes | str) -> bytes | str:
    """Return the message as it may be kept: without the caller's tokens, if it can be read."""
    try:
        kept = {
            name: value
            for name, value in _opened(_parsed(body)).items()
            if not name.startswith("_context_") or name.endswith("request_id")
        }
    except RequestMalformed:
        return body
    return json.dumps(_enveloped(kept))


def check_version(asked: str, spoken: str = VERSION) -> None:
    """Raise VersionUnsupported unless a speaker of ``spoken`` understands ``asked``."""
    try:
        major, minor = (int(part) for part in asked.split(".")[:2])
    except ValueError as error:
        raise VersionUnsupported(f"the RPC version is unreadable; spoken is {spoken}") from error
    our_major, our_minor = (int(part) for part in spoken.split("."))
    if major != our_major or minor > our_minor:
        message = f"RPC version {major}.{minor} is not spoken here; {spoken} is"
        raise VersionUnsupported(message)


def operation_id_in(arguments: Mapping[str, Any]) -> OperationId:
    """Return the id that each operation carries; raises RequestMalformed."""
    text = arguments.get("operation_id")
    found = _uuid(text)
    if found is None:
        what = "missing" if text is None else "no UUID"
        raise RequestMalformed(f"operation_id is {what}")
    return OperationId(found)


def instance_in(arguments: Mapping[str, Any]) -> InstanceId | None:
    """Return the instance that a message is about, if it says so readably."""
    found = _uuid(arguments.get("instance_uuid"))
    return None if found is None else InstanceId(found)


def expiry_in(arguments: Mapping[str, Any]) -> datetime | None:
    """Return when an operation is no longer wanted; raises RequestMalformed."""
    text = arguments.get("expires_at")
    if text is None:
        return None
    problem = "expires_at is no time in ISO 8601 with its zone"
    if not isinstance(text, str):
        raise RequestMalformed(problem)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestMalformed(problem) from error
    if at.utcoffset() is None:
        raise RequestMalformed(problem)
    return at


def request_from(request_type: type[RequestT], arguments: Mapping[str, Any]) -> RequestT:
    """Build the request; raises RequestMalformed that names every argument that does not fit."""
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
            problems.append(f"{name} {error}")
    if problems:
        raise RequestMalformed("; ".join(problems))
    return request_type(**values)


def update_out(entry: OutboxEntry, publisher: str) -> dict[str, str]:
    """Return an update as a notification that any oslo.messaging listener reads."""
    return _enveloped(
        {
            "message_id": entry.message_id,
            "publisher_id": publisher,
            "event_type": entry.event.value,
            "priority": "INFO",
            "payload": dict(entry.payload),
            "timestamp": entry.payload.get("at"),
            # New each time: with the same one a listener would log a second copy as an error.
            "_unique_id": new_uuid().replace("-", ""),
        }
    )


def update_in(body: bytes | str) -> dict[str, Any]:
    """Read a notification; raises RequestMalformed."""
    message = _opened(_parsed(body))
    shown = ("message_id", "publisher_id", "event_type", "payload", "timestamp")
    return {name: message.get(name) for name in shown}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    required: bool
    read: Callable[[object], object]


@cache
def _shape(request_type: Hashable) -> Mapping[str, _Field]:
    shaped = cast("type[Any]", request_type)
    hints = get_type_hints(shaped)
    return {
        field.name: _Field(required=field.default is MISSING, read=_reader(hints[field.name]))
        for field in fields(shaped)
    }


def _reader(hint: Any) -> Callable[[object], object]:  # noqa: ANN401 - a type hint has no type
    wanted = [option for option in get_args(hint) or (hint,) if option is not NoneType]
    plain = READERS[wanted[0]]
    if NoneType not in get_args(hint):
        return plain
    return lambda value: None if value is None else plain(value)


def _read_id(value: object) -> str:
    found = _uuid(value)
    if found is None:
        raise RequestMalformed("is no UUID")
    return found


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


READERS: Mapping[Any, Callable[[object], object]] = {
    **dict.fromkeys(IDS, _read_id),
    Secret: lambda value: Secret(_read_str(value)),
    bool: _read_bool,
    int: _read_int,
    str: _read_str,
}


def _uuid(value: object) -> str | None:
    """Upper case is another way to write the same id, so it is lowered; no other form is taken."""
    text = value.lower() if isinstance(value, str) else ""
    return text if is_uuid(text) else None


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


def _request_id(context: Mapping[str, Any]) -> str | None:
    for name in ("request_id", "global_request_id"):
        text = context.get(name)
        if isinstance(text, str) and REQUEST_ID.fullmatch(text):
            return text
    return None


def _parsed(body: bytes | str) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, TypeError, RecursionError) as error:
        raise RequestMalformed("the message is no JSON") from error
    if not isinstance(found, dict):
        raise RequestMalformed("the message is no mapping")
    return found


def _opened(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    if "oslo.message" not in envelope:
        return envelope
    version, inner = envelope.get("oslo.version"), envelope["oslo.message"]
    if not isinstance(version, str) or not version.startswith("2."):
        raise RequestMalformed("the envelope's version is not 2.x")
    if not isinstance(inner, str):
        raise RequestMalformed("the envelope holds no text")
    return _parsed(inner)


def _enveloped(message: Mapping[str, Any]) -> dict[str, str]:
    return {"oslo.version": ENVELOPE_VERSION, "oslo.message": json.dumps(message)}
