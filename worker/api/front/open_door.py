"""No door: for one user on one machine."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from worker.api.asked import Refused, Who
from worker.rpc.safety import is_loopback

PROJECT = "00000000-0000-4000-8000-000000000001"
"""Whose everything is, where nobody is asked who they are."""

ANYBODY = Who(user_id="admin", project_id=PROJECT, roles=frozenset({"admin", "member", "reader"}))


class OpenDoor:
    """Lets everybody in as an administrator of the one project; on loopback only.

    A page in a browser of the machine may have a name of its own that leads to loopback as well,
    and what it asks by that the browser takes for its own: so the name is looked at.
    """

    def __init__(self, public_url: str | None = None) -> None:
        """``public_url`` is by which clients are told to ask, if not by a name of loopback."""
        self._name = urlsplit(public_url or "").hostname

    def identify(self, environ: Mapping[str, Any]) -> Who:
        """Return the one user there is; raises Refused (403) for who asks by a foreign name."""
        asked = str(environ.get("HTTP_HOST", ""))
        if not self._is_ours(asked):
            message = (
                f"this API is not {asked[:100]!r}: with [api] auth = none ask it as localhost, by"
                " an address of loopback, or by the name in [api] public_url"
            )
            raise Refused(403, message)
        return ANYBODY

    def _is_ours(self, asked: str) -> bool:
        try:
            name = urlsplit(f"//{asked}").hostname
        except ValueError:
            return False
        return is_loopback(name) or name == self._name
