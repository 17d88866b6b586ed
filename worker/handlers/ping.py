"""Is a worker there?"""

from dataclasses import dataclass
from typing import Any

from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Call: is a worker there?"""


def ping(_request: Ping, ports: Ports) -> dict[str, Any]:
    """Answer with the host's name and its time; touches nothing outside."""
    return {"host": ports.host, "at": ports.clock.now().isoformat()}
