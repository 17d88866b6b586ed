"""The OpenAPI 3.1 document, made from the table of requests and from nothing else."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from worker import __version__
from worker.api import microversions
from worker.api.asked import Answer, Asked, Json, Refused, Version
from worker.api.openapi_parts import COMPONENTS, SERVICES, TOKEN, fault_statuses, said_headers
from worker.api.route import From, Route, Service, latest
from worker.api.services import Services

Versions = Mapping[Service, Version]

NEWEST: dict[Service, Version] = {
    service: newest for service, (_, newest) in microversions.RANGES.items()
}


def document(routes: Iterable[Route], versions: Versions = NEWEST) -> Json:
    """Return the document of a table as it is at those microversions; the same for the same."""
    by_path: dict[str, dict[str, list[Route]]] = {}
    for route in routes:
        by_path.setdefault(route.path, {}).setdefault(route.method.lower(), []).append(route)
    used = {
        route.service for methods in by_path.values() for some in methods.values() for route in some
    }
    return {
        "openapi": "3.1.0",
        "info": _info(versions),
        "servers": [{"url": "/"}],
        "tags": [
            {"name": service, "description": words}
            for service, words in SERVICES.items()
            if service in used
        ],
        "paths": {
            path: {method: _operation(some, versions) for method, some in methods.items()}
            for path, methods in by_path.items()
        },
        "components": COMPONENTS,
    }


def described(table: Sequence[Route]) -> Route:
    """Return the request that answers with the document of a table and of itself."""
    return Route(
        method="GET",
        path="/openapi.json",
        act=partial(_show, table),
        does="Describe all requests, at a microversion of each service",
        rule=None,
        service=Service.OWN,
        query=(From(schema=_QUERY),),
        answers={200: {"type": "object", "required": ["openapi", "paths"]}},
    )


_QUERY: Json = {
    "type": "object",
    "properties": {
        service: {
            "type": "array",
            "items": {"type": "string", "pattern": r"^(latest|[0-9]{1,3}\.[0-9]{1,3})$"},
            "maxItems": 1,
            "description": f"Microversion of {service} to describe; the newest if not said.",
        }
        for service in microversions.RANGES
    },
    "additionalProperties": False,
}


def _show(table: Sequence[Route], asked: Asked, _services: Services) -> Answer:
    versions = {service: _said(service, asked) for service in microversions.RANGES}
    return Answer(body=document((*table, described(table)), versions))


def _said(service: Service, asked: Asked) -> Version:
    wanted = f"{service} {asked.query.get(service, ['latest'])[0]}"
    try:
        return microversions.negotiated(service, {microversions.HEADER.lower(): wanted})
    except Refused as refused:
        raise Refused(400, refused.message) from refused


def _info(versions: Versions) -> Json:
    spoken = ", ".join(f"{service} {version}" for service, version in versions.items())
    return {
        "title": "blockworker",
        "version": __version__,
        "description": (
            "Servers, their volumes, and what becomes of them, as clients of OpenStack ask for"
            f" them. Described as at the microversions {spoken};"
            " /openapi.json?compute=2.60 describes another."
        ),
    }


def _operation(routes: Sequence[Route], versions: Versions) -> Json:
    version = versions.get(routes[0].service, microversions.UNVERSIONED)
    there = [route for route in routes if route.there(version)]
    route = (there or routes)[0]
    found: Json = {
        "operationId": _name(route),
        "tags": [route.service],
        "summary": route.does,
        "description": _description(route),
        "parameters": [*_in_path(route), *_in_query(route, version), *_in_headers(route)],
        "responses": _responses(route),
        "security": [] if route.rule is None else TOKEN,
    }
    if route.body:
        found["requestBody"] = _body(route, version)
    if not there:
        found["deprecated"] = True
    return found | _bounds(route.service, route.since, route.until)


def _name(route: Route) -> str:
    words = re.sub(r"[^0-9A-Za-z]+", "_", route.path).strip("_")
    return f"{route.method.lower()}_{words}".rstrip("_")


def _description(route: Route) -> str:
    if route.rule is None:
        return f"{route.does}. Anybody may."
    return f"{route.does}. Policy: `{route.rule}`."


def _bounds(service: Service, since: int, until: int | None) -> Json:
    if service not in microversions.RANGES or (not since and until is None):
        return {}
    major = microversions.RANGES[service][0].major
    found = {"min-ver": f"{major}.{since}"}
    if until is not None:
        found["max-ver"] = f"{major}.{until}"
    return {"x-openstack": found}


def _in_path(route: Route) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": f"The {name.replace('_', ' ')}.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _in_query(route: Route, version: Version) -> list[Json]:
    schema = latest(route.query, version) or {}
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": each.get("description", f"{name.replace('_', ' ').capitalize()}."),
            "schema": each,
        }
        for name, each in schema.get("properties", {}).items()
    ]


def _in_headers(route: Route) -> list[Json]:
    versioned = route.service in microversions.RANGES
    return [{"$ref": f"#/components/parameters/{route.service}-version"}] if versioned else []


def _body(route: Route, version: Version) -> Json:
    schema = latest(route.body, version)
    media: Json = {"schema": {} if schema is None else schema}
    others = [
        {"schema": each.schema} | _bounds(route.service, each.minor, _until(route.body, each))
        for each in route.body
    ]
    if len(others) > 1:
        media["x-openstack-schemas"] = others
    return {"required": True, "content": {"application/json": media}}


def _until(schemas: Sequence[From], one: From) -> int | None:
    later = [each.minor for each in schemas if each.minor > one.minor]
    return min(later) - 1 if later else None


def _responses(route: Route) -> dict[str, Any]:
    faults = {
        str(status): {"$ref": f"#/components/responses/{route.service}-{status}"}
        for status in fault_statuses(route)
    }
    return {
        str(status): _answer(route, schema) for status, schema in route.answers.items()
    } | faults


def _answer(route: Route, schema: Mapping[str, Any] | None) -> Json:
    found: Json = {"description": f"{route.does}: done.", "headers": said_headers(route)}
    if schema is not None:
        found["content"] = {route.media: {"schema": schema}}
    return found
