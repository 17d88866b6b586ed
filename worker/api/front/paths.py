"""Paths before they are looked up: whose they are, and the project that some clients put in."""

import re
from collections.abc import Iterable
from urllib.parse import quote

import falcon

from worker.api.route import Route, Service

_PROJECT = re.compile(r"[0-9A-Za-z._-]{1,255}")

# novaclient asks for images below the endpoint that it has, be it of images or its only one.
_IMAGES_BELOW = re.compile(r"/v2(?:\.1)?(/v2/images(?:/[^/]+)?)")

_LONGEST = 500

_ROOTS = {"v2.1": Service.COMPUTE, "v3": Service.VOLUME, "v2": Service.IMAGE}


def service_at(path: str) -> Service:
    """Return whose form a fault has at a path, be there such a request or not."""
    root = path.lstrip("/").partition("/")[0]
    return Service.IDENTITY if root == "identity" else _ROOTS.get(root, Service.COMPUTE)


def shown_path(path: str) -> str:
    """Return a path as it may be said: bounded, and in one line whatever it holds."""
    return quote(path[:_LONGEST])


class ProjectInPath:
    """Takes ``/v2.1/<project>/servers`` for ``/v2.1/servers``: older clients name their project.

    Only at the services that have it so, and never where the path is one of the table's as it is.
    """

    _services = (Service.COMPUTE, Service.VOLUME)

    def __init__(self, table: Iterable[Route]) -> None:
        """Know the first word of each path after its root."""
        self._known: dict[str, set[str]] = {}
        for route in table:
            root, _, rest = route.path.lstrip("/").partition("/")
            if root in _ROOTS and rest and _ROOTS[root] in self._services:
                self._known.setdefault(root, set()).add(rest.partition("/")[0])

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        """Strike the project from the path, and keep it to be compared with the caller's."""
        request.context["project"] = None
        if images := _IMAGES_BELOW.fullmatch(request.path):
            request.path = images[1]
            return
        parts = request.path.lstrip("/").split("/")
        if len(parts) < len(("root", "project", "resource")):
            return
        root, project, resource, *_ = parts
        known = self._known.get(root, set())
        if project not in known and resource in known and _PROJECT.fullmatch(project):
            request.context["project"] = project
            request.path = "/" + "/".join([root, *parts[2:]])
