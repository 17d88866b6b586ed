"""Operations as they leave the API."""

from worker.api.asked import Json, Who
from worker.api.unplaced import fit_for
from worker.persistence.fleet import Told


def shown(told: Told, who: Who) -> Json:
    """Return an operation and its host; what an instance was exported as stays here.

    Of what failed the caller reads what is fit for them.
    """
    return shown_of(told.operation.public(), told.host, who)


def shown_of(found: Json, host: str, who: Who) -> Json:
    """Return in the same way what the host's worker has said of an operation."""
    arguments = {name: said for name, said in found["arguments"].items() if name != "document"}
    failures = {name: fit_for(who, found[name]) for name in ("fault", "steps")}
    return found | failures | {"arguments": arguments, "host": host}
