"""One line of the log for each request, its id in each answer, and the figures of all."""

import logging
import time
from collections.abc import Callable
from urllib.parse import quote

import falcon

from worker.api.asked import Who
from worker.api.front.paths import service_at, shown_path
from worker.api.route import Service
from worker.model.ids import new_uuid

LOG = logging.getLogger(__name__)

REQUEST_ID = "X-Openstack-Request-Id"
COMPUTE_REQUEST_ID = "X-Compute-Request-Id"

UNKNOWN = "unknown"
"""The path of what is not in the table: a name for all, or each wrong path were a series."""

Meter = Callable[[str, str, int, float], None]
"""Is told of each request: method, path of its route, status, seconds."""


class Recorded:
    """Gives each request an id, and tells what became of it: refused and crashed ones too."""

    def __init__(self, meter: Meter) -> None:
        """Tell the meter."""
        self._meter = meter

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Begin: draw the id."""
        request.context["begun"] = time.monotonic()
        request.context["request_id"] = request_id = f"req-{new_uuid()}"
        response.set_header(REQUEST_ID, request_id)
        if service_at(request.path) is Service.COMPUTE:
            response.set_header(COMPUTE_REQUEST_ID, request_id)

    def process_response(
        self, request: falcon.Request, response: falcon.Response, _resource: object, _ok: object
    ) -> None:
        """End: say it once."""
        begun: float = request.context["begun"] or 0.0
        seconds = time.monotonic() - begun
        method = request.method if request.uri_template else UNKNOWN
        path = request.uri_template or UNKNOWN
        self._meter(method, path, response.status_code, seconds)
        LOG.info(
            "api request: %s status=%d seconds=%.3f",
            *(as_asked(request), response.status_code, seconds),
        )


def as_asked(request: falcon.Request) -> str:
    """Return what was asked as it stands in the log."""
    path, method = shown_path(request.path), request.method
    named = f"request_id={request.context['request_id']} {_asker(request.context.get('who'))}"
    return f"{named} method={method} path={path}"


def _asker(who: Who | None) -> str:
    """Return who asked; nobody, where the request was refused before or needs no token."""
    user, project = (None, None) if who is None else (who.user_id, who.project_id)
    return f"user={quote(user or '-')} project={quote(project or '-')}"
