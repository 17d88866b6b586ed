"""The table of requests: a theme's are in its module, which is a line here."""

from worker.api.compute import attachments, discovery
from worker.api.route import Route

ROUTES: tuple[Route, ...] = (
    *discovery.ROUTES,
    *attachments.ROUTES,
)
