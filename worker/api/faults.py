"""How a request ends badly, in HTTP's words and each service's form."""

from http import HTTPStatus

import falcon

from worker.api.asked import UNASKED, Json, Refused, Who
from worker.api.front.paths import shown_path
from worker.api.route import Service
from worker.api.unplaced import fit_for
from worker.errors import (
    Conflict,
    Invalid,
    NotFound,
    TooManyDevices,
    Unavailable,
    VolumeAlreadyAttached,
    VolumeInUse,
    WorkerError,
    told,
)

AWAY = 503

_STATUS: tuple[tuple[type[WorkerError], int], ...] = (
    # Nova's answers where they are not those of the family.
    (VolumeAlreadyAttached, 400),
    (VolumeInUse, 400),
    (TooManyDevices, 403),
    (Invalid, 400),
    (NotFound, 404),
    (Conflict, 409),
    (Unavailable, 503),
)
"""Looked through from above: the kinds before their family."""

NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    406: "computeFault",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    422: "unprocessableEntity",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
"""What Nova calls each kind of fault; the rest are ``computeFault``."""


def refused(error: WorkerError, who: Who = UNASKED) -> Refused:
    """Return how an error of ours is answered; one that has no family is nobody's fault but ours.

    Its code goes along, in a header, since Nova's form has no place for it. The words are fit for
    who asks.
    """
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return Refused(status, fit_for(who, told(error)), {"X-Blockworker-Code": error.code})


def headers_of(refused: Refused) -> dict[str, str]:
    """Return the headers of a fault; one that passes says when it is worth to ask again."""
    return ({"Retry-After": "5"} if refused.status == AWAY else {}) | refused.headers


def of_http(error: falcon.HTTPError, request: falcon.Request) -> Refused:
    """Return how a request is answered that is none of the table's, or hardly HTTP."""
    path = shown_path(request.path)
    headers = dict(error.headers or {})
    known = {
        404: f"nothing is at {path}; /openapi.json lists all that may be asked",
        405: f"{path} takes no {request.method}; it takes {headers.get('Allow')}",
    }
    message = known.get(error.status_code) or error.description or _MALFORMED
    return Refused(error.status_code, message, headers)


_MALFORMED = "the request is no HTTP that is understood: its method or one of its headers is wrong"


def body_of(status: int, message: str, service: Service) -> Json:
    """Return the fault as the service's clients read it: Glance has the form of WebOb."""
    if service is Service.IDENTITY:
        return {"error": {"code": status, "message": message, "title": _title(status)}}
    if service is Service.IMAGE:
        title = _title(status)
        return {"code": f"{status} {title}", "title": title, "message": message}
    name = NAMES.get(status, "computeFault")
    return {name: {"code": status, "message": message}}


def _title(status: int) -> str:
    return HTTPStatus(status).phrase
