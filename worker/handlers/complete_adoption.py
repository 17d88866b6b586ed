"""Give the disks of a guest that was just adopted the marks of their rows."""

from dataclasses import dataclass

from worker.errors import DeviceAmbiguous, InstanceNotFound
from worker.model.ids import InstanceId
from worker.model.instance import Instance
from worker.model.marking import MarkChange, changes_between, ways_back
from worker.model.marks import Adoption
from worker.ports import Ports
from worker.undo import Undo

METHOD = "complete_adoption"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteAdoption:
    """Operation of the worker's own: write the marks of adopted rows into the domain."""

    instance_uuid: InstanceId


def complete_adoption(request: CompleteAdoption, ports: Ports) -> None:
    """Mark every disk of the persistent layout; where that fails nothing was adopted."""
    try:
        instance = ports.instances.get(request.instance_uuid)
    except InstanceNotFound:
        # The call that began it was refused at the last moment, or taken back by an earlier run.
        return
    with Undo(ports.progress) as undo:
        undo.earlier("definitions.mark", _unmark, instance, ports)

        undo.by(_take_back, instance, ports)
        changes = _changes(instance, ports)

        undo.by(_unmark, instance, ports)
        ports.definitions.mark(instance.uuid, changes)
        undo.commit_point()


def _changes(instance: Instance, ports: Ports) -> tuple[MarkChange, ...]:
    """Return what is to be written; raises DeviceAmbiguous for a disk that has changed since."""
    layout = ports.guests.describe(instance.uuid).persistent
    rows, adoption = ports.devices.of_instance(instance.uuid), instance.adoption or Adoption()
    found = () if layout is None else changes_between(layout, rows, adoption)
    lost = {row.target for row in rows if adoption.marks_of(row.uuid) is not None}
    lost -= {change.target for change in found}
    if lost:
        message = f"{', '.join(sorted(lost))} changed while the instance was adopted; adopt it anew"
        raise DeviceAmbiguous(message)
    return found


def _unmark(instance: Instance, ports: Ports) -> None:
    layout = ports.guests.describe(instance.uuid).persistent
    rows, adoption = ports.devices.of_instance(instance.uuid), instance.adoption or Adoption()
    if layout is not None:
        ports.definitions.mark(instance.uuid, ways_back(layout, rows, adoption))


def _take_back(instance: Instance, ports: Ports) -> None:
    for row in ports.devices.of_instance(instance.uuid):
        ports.connections.drop(row.uuid)
        ports.devices.remove(row)
    ports.instances.remove(instance.uuid)
