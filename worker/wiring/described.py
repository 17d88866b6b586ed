"""The description of the REST API, without an API that runs."""

from worker.api.asked import Json
from worker.api.openapi import document
from worker.api.routes import ROUTES


def openapi() -> Json:
    """Return the OpenAPI document of all requests, at the newest microversions."""
    return document(ROUTES)
