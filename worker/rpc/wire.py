"""Message and dataclass, each made from the other; nothing but typed errors comes out of here.

What a message says is never repeated in an error: an argument of the wrong type may be a secret.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.errors import RequestMalformed, VersionUnsupported
from worker.model.ids import InstanceId, OperationId, new_uuid
from worker.model.update import OutboxEntry
from worker.rpc.methods import VERSION
from worker.rpc.reading import uuid_in

ENVELOPE_VERSION = "2.0"
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


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
    found = uuid_in(text)
    if found is None:
        what = "missing" if text is None else "no UUID"
        raise RequestMalformed(f"operation_id is {what}")
    return OperationId(found)


def instance_in(arguments: Mapping[str, Any]) -> InstanceId | None:
    """Return the instance that a message is about, if it says so readably."""
    found = uuid_in(arguments.get("instance_uuid"))
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
