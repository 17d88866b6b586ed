"""Is a worker there?"""

from typing import Any

from worker.model.requests import Ping
from worker.ports import Ports


def ping(_request: Ping, ports: Ports) -> dict[str, Any]:
    """Answer with the host's name and its time; touches nothing outside."""
    return {"host": ports.host, "at": ports.clock.now().isoformat()}
