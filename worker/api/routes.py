"""The table of requests: a theme's are in its module, which is a line here."""

from worker.api.compute import attachments, discovery
from worker.api.openapi import described
from worker.api.route import Route

_THEMES: tuple[Route, ...] = (
    *discovery.ROUTES,
    *attachments.ROUTES,
)

ROUTES: tuple[Route, ...] = (*_THEMES, described(_THEMES))
