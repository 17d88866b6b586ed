"""Operations as they leave the API."""

from worker.api.asked import Json
from worker.persistence.fleet import Told


def shown(told: Told) -> Json:
    """Return an operation and its host; what an instance was exported as stays here."""
    return shown_of(told.operation.public(), told.host)


def shown_of(found: Json, host: str) -> Json:
    """Return in the same way what the host's worker has said of an operation."""
    arguments = {name: said for name, said in found["arguments"].items() if name != "document"}
    return found | {"arguments": arguments, "host": host}
