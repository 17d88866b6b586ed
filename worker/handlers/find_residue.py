"""Find what volumes left on this host, and change nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worker.errors import HypervisorUnavailable, VolumeServiceUnavailable
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
    things, unseen = _read("things of this host", find_things, ports)
    secrets, unread = _read("secrets of the hypervisor", find_secrets, ports)
    wanted = [
        each.public()
        for each in (*things.differences, *secrets.differences)
        if request.instance_uuid in (None, each.instance)
    ]
    foreign = things.foreign + secrets.foreign
    return {"differences": wanted, "foreign": foreign, "not_read": unseen + unread}


def _read(what: str, look: Callable[[Ports], Residue], ports: Ports) -> tuple[Residue, list[str]]:
    """What is away hides its own, and nothing else."""
    try:
        return look(ports), []
    except (HypervisorUnavailable, VolumeServiceUnavailable) as error:
        return Residue(), [f"{what}: {error} [{error.code}]"]
