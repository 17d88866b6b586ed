"""What requests of the OpenAPI document share: headers, faults, how callers prove who they are."""

from http import HTTPStatus

from worker.api import faults, microversions
from worker.api.asked import OPERATION, Json
from worker.api.route import Route, Service

SERVICES = {
    Service.COMPUTE: "Servers, as Nova answers.",
    Service.VOLUME: "Volumes of the built-in pool, as Cinder answers.",
    Service.IMAGE: "Images of the folder, as Glance answers.",
    Service.IDENTITY: "Tokens, as Keystone answers.",
    Service.OWN: "Operations, streams of updates, and how the API is.",
}

TOKEN: list[Json] = [{"token": []}]

_ALWAYS = (400, 503)
_KNOWN_CALLERS = (401, 403)
_VERSIONED = (406,)
_NAMED = (404,)
_CHANGING = (409,)
_WITH_BODY = (408, 411, 413, 415)


def fault_statuses(route: Route) -> list[int]:
    """Return the faults that a request can end with, but for those that its answers name."""
    parts = (
        (_ALWAYS, True),
        (_KNOWN_CALLERS, route.rule is not None or route.service is Service.IDENTITY),
        (_VERSIONED, route.service in microversions.RANGES),
        (_NAMED, "{" in route.path or route.since > 0 or route.until is not None),
        (_CHANGING, route.method != "GET"),
        # A body names things as well as a path does.
        (_NAMED, bool(route.body)),
        (_WITH_BODY, bool(route.body)),
    )
    return sorted({each for some, there in parts if there for each in some} - set(route.answers))


def said_headers(route: Route) -> Json:
    """Return the headers of an answer that is no fault."""
    names = ["X-Openstack-Request-Id"]
    if route.service in microversions.RANGES:
        names += [microversions.HEADER, "Vary"]
    if route.method != "GET" and route.rule is not None:
        names.append(OPERATION)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(description: str, *, always: bool, **schema: str) -> Json:
    return {
        "description": description,
        "required": always,
        "schema": {"type": "string", **schema},
    }


_UUID = "[0-9a-f-]{36}"

_HEADERS: Json = {
    "X-Openstack-Request-Id": _header(
        "Names the request in the logs of API and worker.", always=True, pattern="^req-"
    ),
    microversions.HEADER: _header("The microversion that has answered.", always=True),
    "Vary": _header("The microversion changes the answer.", always=True),
    OPERATION: _header(
        "The operation that was begun, or several; GET /operations/{id} shows it.",
        always=False,
        pattern=f"^{_UUID}(, *{_UUID})*$",
    ),
    "X-Blockworker-Code": _header("The error's code, see docs/errors.md.", always=False),
    "Retry-After": _header("Seconds after which it is worth to ask again.", always=True),
}

_FORMS: Json = {
    Service.IDENTITY: {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer"},
                    "title": {"type": "string"},
                    "message": {"type": "string"},
                },
                "required": ["code", "title", "message"],
            }
        },
        "required": ["error"],
    },
    Service.IMAGE: {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("code", "title", "message")},
        "required": ["code", "title", "message"],
    },
}


def _form(service: Service, status: int) -> Json:
    if service in _FORMS:
        return {"$ref": f"#/components/schemas/{service}-fault"}
    name = faults.NAMES.get(status, "computeFault")
    fault = {
        "type": "object",
        "properties": {"code": {"const": status}, "message": {"type": "string"}},
        "required": ["code", "message"],
    }
    return {"type": "object", "properties": {name: fault}, "required": [name]}


def _fault(service: Service, status: int) -> Json:
    names = ["X-Openstack-Request-Id", "X-Blockworker-Code"]
    names += ["Retry-After"] if status == faults.AWAY else []
    return {
        "description": HTTPStatus(status).phrase,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {"application/json": {"schema": _form(service, status)}},
    }


_STATUSES = (*_ALWAYS, *_KNOWN_CALLERS, *_VERSIONED, *_NAMED, *_CHANGING, *_WITH_BODY)

COMPONENTS: Json = {
    "securitySchemes": {
        "token": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Auth-Token",
            "description": "A token of the token file, or Keystone's; none with auth = none.",
        }
    },
    "parameters": {
        f"{service}-version": {
            "name": microversions.HEADER,
            "in": "header",
            "required": False,
            "description": f"Microversion, {oldest} to {newest} or latest; {oldest} if not said.",
            "schema": {"type": "string"},
            "example": f"{service} {newest}",
        }
        for service, (oldest, newest) in microversions.RANGES.items()
    },
    "headers": _HEADERS,
    "responses": {
        f"{service}-{status}": _fault(service, status)
        for service in Service
        for status in _STATUSES
    },
    "schemas": {f"{service}-fault": form for service, form in _FORMS.items()},
}
