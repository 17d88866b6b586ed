"""What comes with a request, before anybody looks into it: names in its path, and its body."""

from collections.abc import Mapping

import falcon

from worker.api.asked import Refused

JSON = "application/json"

LONGEST_NAME = 255
"""Characters: no id and no name of ours is longer."""


def checked_names(path: Mapping[str, str]) -> Mapping[str, str]:
    """Return what the path names; raises Refused (400) for what nothing can be called.

    A control character may not reach a database (PostgreSQL takes no NUL), a header, or a log.
    """
    for name, value in path.items():
        if not value.isprintable():
            raise Refused(400, f"the {name} in the path has a character that no {name} has")
        if len(value) > LONGEST_NAME:
            raise Refused(400, f"the {name} in the path is longer than {LONGEST_NAME} characters")
    return path


def read_body(request: falcon.Request, limit: int) -> bytes:
    """Return the whole body, of at most ``limit`` bytes; raises Refused (400, 408, 411, 413, 415).

    Its type must be said: a page in a browser can send anything but that to a server of the same
    machine, without asking first.
    """
    if request.env.get("wsgi.input_terminated"):
        raise Refused(411, "the body has no length: say Content-Length, and send it unchunked")
    body = _read_known(request, limit)
    _check_type(request.content_type, body)
    return body


def _read_known(request: falcon.Request, limit: int) -> bytes:
    length = request.content_length or 0
    _check_length(length, limit)
    body = _read(request, length)
    if len(body) < length:
        message = f"the body has {len(body)} bytes, and its Content-Length says {length}"
        raise Refused(400, message)
    return body


def _read(request: falcon.Request, most: int) -> bytes:
    try:
        body: bytes = request.stream.read(most) if most else b""
    except TimeoutError as error:
        raise Refused(408, "the body did not come whole in time; ask again") from error
    except (OSError, ValueError) as error:
        raise Refused(400, "the body could not be read whole; ask again") from error
    return body


def _check_length(length: int, limit: int) -> None:
    if length > limit:
        message = f"the body is longer than {limit} bytes, the most that is taken"
        raise Refused(413, message)


def _check_type(said: str | None, body: bytes) -> None:
    media = (said or "").partition(";")[0].strip().lower()
    if body and media != JSON:
        named = f"{media[:LONGEST_NAME]!r}" if media else "of no type"
        raise Refused(415, f"the body is {named}: send JSON, with Content-Type: {JSON}")
