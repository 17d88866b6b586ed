"""How Cinder is reached, and as whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PATH = "/v3"
"""Where the one API that there is begins in an endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CinderSettings:
    """``cloud``, a name in clouds.yaml, stands for everything up to ``keyfile``.

    ``auth`` is what the keystoneauth plugin ``auth_type`` is given. ``timeout`` is in seconds, for
    an answer. With ``service_token`` each request says twice who asks: as a user, as a service.
    """

    cloud: str | None = None
    endpoint: str | None = None
    auth_type: str = "password"
    auth: Mapping[str, str] = field(default_factory=dict, repr=False)
    region: str | None = None
    interface: str = "public"
    cafile: str | None = None
    insecure: bool = False
    certfile: str | None = None
    keyfile: str | None = None
    timeout: float = 120.0
    service_token: bool = True
    service_role: str = "service"
    legacy: bool = False


def endpoint_of(given: str, project: str | None = None) -> str:
    """Return the endpoint with its version, and the project that requests are made in, if any."""
    url = given.rstrip("/")
    if f"{PATH}/" not in f"{url}/":
        url += PATH
    if project is not None and not url.endswith(f"/{project}"):
        url += f"/{project}"
    return url
