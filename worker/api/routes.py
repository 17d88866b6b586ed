"""The table of requests: a theme's are in its module, which is a line here."""

from worker.api.compute import (
    actions,
    attachments,
    discovery,
    external_events,
    flavors,
    instance_actions,
    servers,
)
from worker.api.identity import discovery as identity
from worker.api.identity import tokens
from worker.api.image import discovery as image_discovery
from worker.api.image import images
from worker.api.openapi import described
from worker.api.own import health, metrics, operations, updates
from worker.api.route import Route
from worker.api.volume import changing, volumes
from worker.api.volume import discovery as volume_discovery

_THEMES: tuple[Route, ...] = (
    *discovery.ROUTES,
    *identity.ROUTES,
    *tokens.ROUTES,
    *attachments.ROUTES,
    *external_events.ROUTES,
    *servers.ROUTES,
    *actions.ROUTES,
    *flavors.ROUTES,
    *instance_actions.ROUTES,
    *operations.ROUTES,
    *updates.ROUTES,
    *health.ROUTES,
    *metrics.ROUTES,
    *volume_discovery.ROUTES,
    *volumes.ROUTES,
    *changing.ROUTES,
    *image_discovery.ROUTES,
    *images.ROUTES,
)

ROUTES: tuple[Route, ...] = (*_THEMES, described(_THEMES))
