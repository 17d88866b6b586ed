"""The WSGI application: falcon's router before the table of requests."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import falcon

from worker.api import faults, microversions
from worker.api.asked import UNASKED, Answer, Asked, Refused, Version, Who
from worker.api.front.body import checked_names, read_body
from worker.api.front.paths import ProjectInPath, service_at
from worker.api.front.records import Meter, Recorded, as_asked
from worker.api.front.staying import EVERY, Staying
from worker.api.route import Route, Service
from worker.api.schemas.check import checked_body, checked_query
from worker.api.services import Services
from worker.errors import WorkerError

LOG = logging.getLogger(__name__)


class Door(Protocol):
    """Who is let in."""

    def identify(self, environ: Mapping[str, Any]) -> Who:
        """Return who asks; raises Refused (401)."""


ADMINISTRATOR = "context_is_admin"
"""The rule that tells who sees what is any project's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What stands before the requests: ``body_limit`` is in bytes.

    ``public_url`` is what clients are told to ask; without it whatever they have asked. Who hears a
    stream is asked for again after ``asked_again`` seconds.
    """

    door: Door
    body_limit: int = 114688
    public_url: str | None = None
    asked_again: float = EVERY
    meter: Meter = lambda *_: None


class Application:
    """Answers HTTP by the table; a WSGI callable, shared by threads."""

    def __init__(self, routes: Iterable[Route], services: Services, front: Front) -> None:
        """Answer what is in the table."""
        self._services = services
        self._front = front
        self._table = tuple(routes)
        self._app: Any = falcon.App(middleware=[Recorded(front.meter), ProjectInPath(self._table)])
        self._app.resp_options.default_media_type = "application/json"
        self._app.req_options.strip_url_path_trailing_slash = True
        self._app.req_options.keep_blank_qs_values = True
        self._app.req_options.auto_parse_qs_csv = False
        self._app.add_error_handler(Exception, self._unforeseen)
        self._app.add_error_handler(falcon.HTTPError, self._of_falcon)
        for path, here in _by_path(self._table).items():
            self._app.add_route(path, self._resource(here))

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401
        """Answer one request, as WSGI has it."""
        answer: Iterable[bytes] = self._app(environ, start)
        return answer

    def _resource(self, routes: Iterable[Route]) -> SimpleNamespace:
        by_method: dict[str, list[Route]] = {}
        for route in routes:
            by_method.setdefault(route.method, []).append(route)
        return SimpleNamespace(
            **{f"on_{method.lower()}": self._responder(some) for method, some in by_method.items()}
        )

    def _responder(self, routes: list[Route]) -> Callable[..., None]:
        def respond(request: falcon.Request, response: falcon.Response, **path: str) -> None:
            service = routes[0].service
            try:
                answer = self._answer(routes, request, response, path)
            except Refused as refused:
                _refuse(response, refused, service)
            except WorkerError as error:
                _refuse(response, _refused(error, request), service)
            else:
                _send(response, answer)

        return respond

    def _answer(
        self,
        routes: list[Route],
        request: falcon.Request,
        response: falcon.Response,
        path: Mapping[str, str],
    ) -> Answer:
        headers = {name.lower(): value for name, value in request.headers.items()}
        known = any(route.rule is not None for route in routes)
        who = self._ranked(self._front.door.identify(request.env)) if known else UNASKED
        request.context["who"] = who
        version = microversions.negotiated(routes[0].service, headers)
        response.set_headers(microversions.said(routes[0].service, version))
        route = _of_version(routes, version)
        asked = Asked(
            who=who,
            request_id=str(request.context["request_id"]),
            version=version,
            base=self._front.public_url or request.prefix,
            rule=route.rule,
            path=checked_names(path),
            headers=headers,
        )
        self._check_project(request, who)
        answer = self._act(route, asked, request)
        if answer.stream is None:
            return answer
        still = partial(self._is_still, who, route, request.env)
        return replace(answer, stream=Staying(answer.stream, still, self._front.asked_again))

    def _ranked(self, who: Who) -> Who:
        """The operator says who is an administrator: code and rules go by the same word."""
        is_admin = self._services.policy.allows(ADMINISTRATOR, who, {})
        return replace(who, ranked_admin=is_admin)

    def _is_still(self, who: Who, route: Route, environ: Mapping[str, Any]) -> bool:
        """Tell of who hears a stream whether they would be let in again."""
        try:
            now = self._ranked(self._front.door.identify(environ))
        except Refused as refused:
            # While Keystone is away nobody's token was taken back.
            return refused.status == faults.AWAY
        rule = route.rule
        return (
            now == who and rule is not None and self._services.policy.allows(rule, who, who.owner)
        )

    def _act(self, route: Route, asked: Asked, request: falcon.Request) -> Answer:
        if route.rule is not None:
            self._services.policy.check(route.rule, asked.who, asked.who.owner)
        query = checked_query(route, request.query_string, asked.version)
        body = None
        if route.body:
            body = checked_body(route, read_body(request, self._front.body_limit), asked.version)
        return route.act(replace(asked, query=query, body=body, settled=route.rule), self._services)

    @staticmethod
    def _check_project(request: falcon.Request, who: Who) -> None:
        named = request.context.get("project")
        if named is not None and named != who.project_id and who is not UNASKED:
            message = (
                f"Malformed request URL: URL's project_id '{named}' doesn't match Context's"
                f" project_id '{who.project_id}'"
            )
            raise Refused(400, message)

    def _of_falcon(
        self, request: falcon.Request, response: falcon.Response, error: falcon.HTTPError, _: object
    ) -> None:
        _refuse(response, faults.of_http(error, request), service_at(request.path))

    def _unforeseen(
        self, request: falcon.Request, response: falcon.Response, error: Exception, _: object
    ) -> None:
        LOG.error("api request crashed: %s", as_asked(request), exc_info=error)
        _refuse(
            response, Refused(500, "the API failed; its log says why"), service_at(request.path)
        )


def _by_path(table: Iterable[Route]) -> dict[str, list[Route]]:
    found: dict[str, list[Route]] = {}
    for route in table:
        found.setdefault(route.path, []).append(route)
    return found


def _of_version(routes: Iterable[Route], version: Version) -> Route:
    for route in routes:
        if route.there(version):
            return route
    raise Refused(404, f"API version {version} has no such request")


def _send(response: falcon.Response, answer: Answer) -> None:
    response.status = answer.status
    response.set_headers(dict(answer.headers))
    if answer.stream is not None:
        response.content_type = answer.content_type
        response.stream = answer.stream
    elif answer.content is not None:
        response.content_type = answer.content_type
        response.data = answer.content
    elif answer.body is not None:
        response.content_type = answer.content_type
        response.data = json.dumps(answer.body).encode()


def _refused(error: WorkerError, request: falcon.Request) -> Refused:
    """Return how it is answered; what is not said for everybody the log says."""
    who: Who = request.context.get("who") or UNASKED
    refused = faults.refused(error, who)
    if error.code == WorkerError.code:
        LOG.error("api request failed: %s", as_asked(request), exc_info=error)
    elif refused.message != str(error):
        LOG.info("api request refused: %s why=%s", as_asked(request), error)
    return refused


def _refuse(response: falcon.Response, refused: Refused, service: Service) -> None:
    response.status = refused.status
    response.content_type = "application/json"
    response.set_headers(faults.headers_of(refused))
    response.data = json.dumps(faults.body_of(refused.status, refused.message, service)).encode()
