"""Operations as they leave the API."""

from worker.api.asked import Json
from worker.persistence.fleet import Told


def shown(told: Told) -> Json:
    """Return an operation and its host; what an instance was exported as stays here."""
    found = told.operation.public()
    arguments = {name: said for name, said in found["arguments"].items() if name != "document"}
    return found | {"arguments": arguments, "host": told.host}
