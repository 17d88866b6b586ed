"""Updates in the form of server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.api.asked import Refused
from worker.persistence.fleet import FleetUpdate, Key

MEDIA = "text/event-stream"

HEADERS = {
    "Cache-Control": "no-cache",
    # nginx would keep it back until its buffer is full.
    "X-Accel-Buffering": "no",
}

AGAIN = b"retry: 2000\n\n"
"""How long, in milliseconds, a client waits before it asks again."""

_ID = re.compile(r"(?P<host>[^/\s]{1,191})/(?P<instance>[0-9a-f-]{0,36})/(?P<sequence>\d{1,18})")


class Last(NamedTuple):
    """The last update that a client has had."""

    key: Key
    sequence: int


def last_of(headers: Mapping[str, str]) -> Last | None:
    """Return what ``Last-Event-ID`` names, None without one; raises Refused (400)."""
    said = headers.get("last-event-id")
    if not said:
        return None
    found = _ID.fullmatch(said)
    if found is None:
        message = (
            "Last-Event-ID is none of ours; send back the id of the last update as it came"
            " (host/instance/number), or leave the header out"
        )
        raise Refused(400, message)
    return Last(Key(found["host"], found["instance"]), int(found["sequence"]))


def told(update: FleetUpdate) -> bytes:
    """Return an update as an event."""
    host, instance = update.key
    return _event(update.event, update.payload, f"{host}/{instance}/{update.sequence}")


def ended(operation: Mapping[str, Any]) -> bytes:
    """Return the last event of an operation's stream; it has no id, for nothing comes after it."""
    return _event("operation.ended", operation)


def comment(said: str) -> bytes:
    """Return a line that clients pass over."""
    return f": {said}\n\n".encode()


def _event(name: str, data: Mapping[str, Any], id_: str | None = None) -> bytes:
    lines = [] if id_ is None else [f"id: {id_}"]
    # JSON escapes each line break, so that the data is one line.
    lines += [f"event: {name}", f"data: {json.dumps(data)}"]
    return ("\n".join(lines) + "\n\n").encode()
