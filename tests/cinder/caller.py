"""Cinder's API as one user calls it: what the tests ask for, and what they compare ours with."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keystoneauth1.session import Session

Json = dict[str, Any]

MICROVERSION = "volume 3.54"
PATIENCE = 120.0
GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """``url`` has the project in it."""

    session: Session
    url: str

    def ask(self, verb: str, path: str, asked: Json | None = None, **more: Any) -> Json:  # noqa: ANN401
        """Return the answer; raises keystoneauth's errors for what is refused."""
        said: Any = self.session.request(
            self.url + path,
            verb,
            json=asked,
            headers={"OpenStack-API-Version": MICROVERSION, "Accept": "application/json"},
            **more,
        )
        found: Json = said.json() if said.content else {}
        return found

    def get(self, path: str) -> Json:
        return self.ask("GET", path)

    def post(self, path: str, asked: Json) -> Json:
        return self.ask("POST", path, asked)

    def create_volume(self, *, kind: str, size: int = 1, **more: Any) -> str:  # noqa: ANN401
        """Make a volume of so many GiB; return its id when it is available."""
        asked = {"size": size, "volume_type": kind, **more}
        volume: str = self.post("/volumes", {"volume": asked})["volume"]["id"]
        self.wait_for(volume, "available")
        return volume

    def volume(self, volume: str) -> Json:
        found: Json = self.get(f"/volumes/{volume}")["volume"]
        return found

    def status(self, volume: str) -> str:
        return str(self.volume(volume)["status"])

    def attachments(self, volume: str) -> list[Json]:
        """Return the volume's attachments, without how it is reached."""
        found: list[Json] = self.get(f"/attachments?all_tenants=1&volume_id={volume}")[
            "attachments"
        ]
        return found

    def act(self, volume: str, action: str, **arguments: Any) -> Json:  # noqa: ANN401
        """Have something done to the volume, by the action's name."""
        return self.post(f"/volumes/{volume}/action", {action: arguments or None})

    def wait_for(self, volume: str, wanted: str) -> Mapping[str, Any]:
        """Return the volume when it has that status."""
        end = time.monotonic() + PATIENCE
        while (found := self.volume(volume))["status"] != wanted:
            assert not found["status"].startswith("error"), found
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found
