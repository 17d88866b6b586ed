"""Give the disks of a guest that was just adopted the marks of their rows."""

from dataclasses import dataclass

from worker.errors import DeviceAmbiguous, InstanceNotFound
from worker.model.identity.marking import (
    MarkChange,
    changes_between,
    peripheral_changes,
    peripheral_ways_back,
    ways_back,
)
from worker.model.identity.marks import Adoption
from worker.model.ids import InstanceId
from worker.model.instance import Instance
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteAdoption:
    """Operation of the worker's own: make the domain what the adopted rows say."""

    instance_uuid: InstanceId


def complete_adoption(request: CompleteAdoption, ports: Ports) -> None:
    """Mark every device of the persistent layout; where that fails nothing was adopted.

    A guest that holds volumes is taken off the hypervisor's autostart, which would start it before
    they are connected.
    """
    try:
        instance = ports.instances.get(request.instance_uuid)
    except InstanceNotFound:
        # The call that began it was refused at the last moment, or taken back by an earlier run.
        return
    with Undo(ports.progress) as undo:
        undo.earlier("definitions.mark", _unmark, instance, ports)
        undo.earlier("autostart.switch", give_autostart_back, instance, ports)

        undo.by(_take_back, instance, ports)
        changes = _changes(instance, ports)

        undo.by(_unmark, instance, ports)
        ports.definitions.mark(instance.uuid, changes)

        undo.by(give_autostart_back, instance, ports)
        take_off_autostart(instance, ports)
        undo.commit_point()


def take_off_autostart(instance: Instance, ports: Ports) -> None:
    """Have the hypervisor not start an adopted guest by itself, if it did and volumes are there."""
    rows = ports.devices.of_instance(instance.uuid)
    if _was_on_autostart(instance) and any(not row.local for row in rows):
        ports.autostart.switch(instance.uuid, on=False)


def give_autostart_back(instance: Instance, ports: Ports) -> None:
    """Have the hypervisor start a guest by itself, if it did before the adoption."""
    if _was_on_autostart(instance):
        ports.autostart.switch(instance.uuid, on=True)


def _was_on_autostart(instance: Instance) -> bool:
    return instance.adoption is not None and instance.adoption.autostart


def _changes(instance: Instance, ports: Ports) -> tuple[MarkChange, ...]:
    """Return what is to be written; raises DeviceAmbiguous for a device that has changed since."""
    layout = ports.guests.describe(instance.uuid).persistent
    rows, adoption = ports.devices.of_instance(instance.uuid), instance.adoption or Adoption()
    others = ports.peripherals.of_instance(instance.uuid)
    found = () if layout is None else changes_between(layout, rows, adoption)
    lost = {row.target for row in rows if adoption.marks_of(row.uuid) is not None}
    lost -= {str(change.device.facts.get("target")) for change in found}
    changes = () if layout is None else peripheral_changes(layout, others)
    borne = {change.wanted.alias for change in changes}
    lost |= {str(row.what) for row in others if row.alias not in borne}
    if lost:
        message = f"{', '.join(sorted(lost))} changed while the instance was adopted; adopt it anew"
        raise DeviceAmbiguous(message)
    return (*found, *changes)


def _unmark(instance: Instance, ports: Ports) -> None:
    layout = ports.guests.describe(instance.uuid).persistent
    rows, adoption = ports.devices.of_instance(instance.uuid), instance.adoption or Adoption()
    if layout is not None:
        others = peripheral_ways_back(layout, ports.peripherals.of_instance(instance.uuid))
        ports.definitions.mark(instance.uuid, (*ways_back(layout, rows, adoption), *others))


def _take_back(instance: Instance, ports: Ports) -> None:
    for row in ports.devices.of_instance(instance.uuid):
        ports.connections.drop(row.uuid)
        ports.devices.remove(row)
    for peripheral in ports.peripherals.of_instance(instance.uuid):
        ports.peripherals.remove(peripheral)
    ports.instances.remove(instance.uuid)
