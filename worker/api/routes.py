"""The table of requests: a theme's are in its module, which is a line here."""

from worker.api.compute import attachments, discovery
from worker.api.identity import discovery as identity
from worker.api.identity import tokens
from worker.api.openapi import described
from worker.api.route import Route

_THEMES: tuple[Route, ...] = (
    *discovery.ROUTES,
    *identity.ROUTES,
    *tokens.ROUTES,
    *attachments.ROUTES,
)

ROUTES: tuple[Route, ...] = (*_THEMES, described(_THEMES))
