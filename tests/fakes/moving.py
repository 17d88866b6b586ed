"""Texts of machines, files of other hands, and moves, without any of what they need."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from tests.fakes.hypervisor import layout, shown
from tests.fakes.world import FakeGuest, ShownPeripheral, World
from worker.errors import (
    DeviceAmbiguous,
    DomainNotFound,
    DomainTaken,
    HypervisorRefused,
    IdTaken,
    InstanceTaken,
)
from worker.model.block_device import BlockDevice
from worker.model.disk import Disk
from worker.model.guest import GuestDevice, GuestDisk, Layout
from worker.model.identity.alias import is_kept
from worker.model.identity.marking import MarkChange, marks_of, with_marks
from worker.model.identity.marks import Marks
from worker.model.ids import InstanceId
from worker.model.instance import Instance, TaskState, VmState
from worker.model.moving.beside import Beside
from worker.model.operation import Operation
from worker.model.peripheral import Peripheral
from worker.ports.moving import (
    NOTHING_BESIDE,
    Autostart,
    Definitions,
    HostFiles,
    Moves,
    NewSources,
    OwnOperations,
)


class FakeDefinitions(Definitions):
    """A text is a name, under which the world keeps the guest as it was."""

    def __init__(self, world: World) -> None:
        self.world = world

    def mark(self, instance: InstanceId, changes: Sequence[MarkChange]) -> None:
        for change in changes:
            _check_kept(change)
        _mark(self._persistent(instance), changes)

    def layout(self, text: str) -> Layout:
        kept = self._text(text)
        return layout(kept.persistent, kept.empty, kept.persistent_peripherals)

    def marked(self, text: str, changes: Sequence[MarkChange]) -> str:
        kept = replace(self._text(text))
        _mark(kept, changes)
        return self._named(text.split(maxsplit=1)[0], kept)

    def read(self, instance: InstanceId, *, aliases: bool = True) -> str:
        guest = self._persistent(instance)
        if not aliases:
            guest = _nameless(guest)
        return self._named(instance, guest)

    def _named(self, instance: str, guest: FakeGuest) -> str:
        text = f"{instance} {len(self.world.texts)}"
        self.world.texts[text] = replace(
            guest,
            persistent=dict(guest.persistent),
            persistent_peripherals=dict(guest.persistent_peripherals),
            live={},
            live_peripherals={},
        )
        return text

    def _text(self, text: str) -> FakeGuest:
        if text not in self.world.texts:
            message = "the text cannot be read"
            raise HypervisorRefused(message)
        return self.world.texts[text]

    def taken(self, instance: InstanceId, name: str) -> str | None:
        guests = self.world.guests
        found = [guests[one].name for one in guests if one == instance or guests[one].name == name]
        return next(iter(found), None)

    def beside(self, instance: InstanceId) -> Beside:
        return self._persistent(instance).beside

    def keeps(self, instance: InstanceId) -> tuple[str, ...]:
        return self._persistent(instance).kept

    def define(
        self, instance: InstanceId, text: str, sources: NewSources, beside: Beside = NOTHING_BESIDE
    ) -> None:
        if text.split(maxsplit=1)[0] != instance:
            message = f"the text is not of {instance}"
            raise HypervisorRefused(message)
        if instance in self.world.guests:
            return
        kept = self.world.texts[text]
        if any(guest.name == kept.name for guest in self.world.guests.values()):
            raise DomainTaken(kept.name)
        named = {name: path for name, path in asdict(kept.beside).items() if path is not None}
        now = {name: getattr(beside, name) or path for name, path in named.items()}
        made = replace(
            kept,
            vm_state=VmState.STOPPED,
            persistent=dict(kept.persistent),
            persistent_peripherals=dict(kept.persistent_peripherals),
            live={},
            live_peripherals={},
            beside=Beside(**now),
        )
        self.world.guests[instance] = made
        self.renew(instance, sources)

    def renew(self, instance: InstanceId, sources: NewSources) -> None:
        guest = self._persistent(instance)
        for alias, disk in guest.persistent.items():
            if alias in sources:
                guest.persistent[alias] = replace(disk, source=sources[alias])

    def drop(self, instance: InstanceId) -> None:
        guest = self.world.guests.get(instance)
        if guest is None:
            return
        if guest.running or guest.kept:
            message = f"{instance} runs, or has {guest.kept}"
            raise HypervisorRefused(message)
        del self.world.guests[instance]

    def _persistent(self, instance: InstanceId) -> FakeGuest:
        guest = self.world.guests.get(instance)
        if guest is None:
            message = f"no domain {instance}"
            raise DomainNotFound(message)
        if guest.transient:
            message = f"{instance} is transient"
            raise HypervisorRefused(message)
        return guest


def _mark(guest: FakeGuest, changes: Sequence[MarkChange]) -> None:
    disks, others = dict(guest.persistent), dict(guest.persistent_peripherals)
    for change in changes:
        if change.changes:
            _remark(disks, others, change)
    _check_apart([*disks.values(), *others.values()])
    guest.persistent = {disk.alias or f"?{disk.target}": disk for disk in disks.values()}
    guest.persistent_peripherals = {
        other.alias or f"?{other.address}": other for other in others.values()
    }


def _nameless(guest: FakeGuest) -> FakeGuest:
    disks = [replace(disk, alias="") for disk in guest.persistent.values()]
    others = [with_marks(other, Marks()) for other in guest.persistent_peripherals.values()]
    return replace(
        guest,
        persistent={f"?{disk.target}": disk for disk in disks},
        persistent_peripherals={
            f"?{other.address}": other for other in others if not isinstance(other, GuestDisk)
        },
    )


def _remark(disks: dict[str, Disk], others: dict[str, ShownPeripheral], change: MarkChange) -> None:
    devices: dict[str, GuestDevice] = {key: shown(disk) for key, disk in disks.items()}
    key = _meant(devices | others, change)
    if key in disks:
        wanted = change.wanted
        disks[key] = replace(disks[key], alias=wanted.alias or "", serial=wanted.serial)
    else:
        others[key] = replace(others[key], alias=change.wanted.alias)


def _meant(devices: Mapping[str, GuestDevice], change: MarkChange) -> str:
    found = [
        key
        for key, device in devices.items()
        if change.fits(device) and marks_of(device) in (change.former, change.wanted)
    ]
    if len(found) != 1:
        raise DeviceAmbiguous(str(change.device))
    return found[0]


def _check_kept(change: MarkChange) -> None:
    alias = change.wanted.alias
    if alias is not None and not is_kept(alias):
        message = f"alias {alias} would be dropped"
        raise HypervisorRefused(message)


def _check_apart(devices: Sequence[Disk | ShownPeripheral]) -> None:
    aliases = [device.alias for device in devices if device.alias]
    if len(set(aliases)) < len(aliases):
        message = f"an alias is borne twice: {aliases}"
        raise DeviceAmbiguous(message)


class FakeAutostart(Autostart):
    def __init__(self, world: World) -> None:
        self.world = world

    def is_on(self, instance: InstanceId) -> bool:
        guest = self.world.guests.get(instance)
        return guest is not None and guest.autostart and not guest.transient

    def switch(self, instance: InstanceId, *, on: bool) -> None:
        guest = self.world.guests.get(instance)
        if guest is not None and not guest.transient:
            guest.autostart = on


class FakeHostFiles(HostFiles):
    def __init__(self, world: World) -> None:
        self.world = world

    def exists(self, path: str) -> bool:
        return path in self.world.other_files or path in self.world.files

    def label(self, path: str) -> str | None:
        return self.world.labels.get(path)


class FakeMoves(Moves):
    def __init__(self, world: World) -> None:
        self.world = world

    def find(self, instance: InstanceId) -> Instance | None:
        return self.world.instances.get(instance)

    def keep(self, instance: InstanceId, document: Mapping[str, Any]) -> None:
        def keep(world: World) -> None:
            world.documents[instance] = dict(document)

        self.world.note(keep)

    def kept(self, instance: InstanceId) -> Mapping[str, Any] | None:
        return self.world.documents.get(instance)

    def bring_in(
        self,
        instance: Instance,
        devices: Sequence[BlockDevice],
        others: Sequence[Peripheral] = (),
    ) -> None:
        known = self.find(instance.uuid)
        if known is not None and known.task_state != TaskState.RELEASED:
            raise InstanceTaken(instance.uuid)
        rows = {**self.world.rows, **self.world.removed}
        for device in devices:
            other = rows.get(device.uuid)
            if other is not None and other.instance != device.instance:
                raise IdTaken(device.uuid)
        for each in others:
            before = {**self.world.peripherals, **self.world.unplugged}.get(each.uuid)
            if before is not None and before.instance != each.instance:
                raise IdTaken(each.uuid)
        self.world.commit()
        self.world.instances[instance.uuid] = instance
        self.world.documents.pop(instance.uuid, None)
        for device in devices:
            self.world.removed.pop(device.uuid, None)
            self.world.rows[device.uuid] = device
        for each in others:
            self.world.unplugged.pop(each.uuid, None)
            self.world.peripherals[each.uuid] = each


class FakeOwnOperations(OwnOperations):
    def __init__(self, world: World) -> None:
        self.world = world

    def begin(self, operation: Operation) -> None:
        def keep(world: World) -> None:
            world.operations[operation.id] = replace(operation, accepted_at=world.tick())

        self.world.note(keep)
