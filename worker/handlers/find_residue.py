"""Find what volumes left on this host, and change nothing."""

from dataclasses import dataclass
from typing import Any

from worker.errors import HypervisorUnavailable
from worker.handlers.parts.residue import find_secrets, find_things
from worker.model.drift.residue import Residue
from worker.model.ids import InstanceId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class FindResidue:
    """Call: what of the storage network no live row has any more, of one instance or of all."""

    instance_uuid: InstanceId | None = None


def find_residue(request: FindResidue, ports: Ports) -> dict[str, Any]:
    """Return each thing that was left, as a difference; ``repair_drift`` removes it.

    ``not_read`` says what could not be looked at; ``foreign`` counts what no row names.
    """
    things = find_things(ports)
    secrets, not_read = _secrets(ports)
    wanted = [
        each.public()
        for each in (*things.differences, *secrets.differences)
        if request.instance_uuid in (None, each.instance)
    ]
    foreign = things.foreign + secrets.foreign
    return {"differences": wanted, "foreign": foreign, "not_read": not_read}


def _secrets(ports: Ports) -> tuple[Residue, list[str]]:
    """A hypervisor that is away hides its secrets, and nothing else."""
    try:
        return find_secrets(ports), []
    except HypervisorUnavailable as error:
        return Residue(), [f"secrets of the hypervisor: {error} [{error.code}]"]
