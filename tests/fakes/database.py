"""A database without one: durable is what was committed, the rest is lost in a crash."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from tests.fakes.world import World
from worker.errors import (
    AddressTaken,
    BlockDeviceNotFound,
    DeviceNameTaken,
    DeviceWrongState,
    IdTaken,
    InstanceNotFound,
    InstanceTaken,
    OperationConflict,
    OperationNotFound,
    OperationWrongState,
    PeripheralTaken,
    TagTaken,
    VolumeAlreadyAttached,
)
from worker.model.block_device import LEGAL_MOVES, BlockDevice, DeviceStatus
from worker.model.connection import Connection, ConnectionRecord
from worker.model.host_device import HostDevice
from worker.model.ids import (
    AttachmentId,
    BlockDeviceId,
    DeviceId,
    InstanceId,
    OperationId,
    PeripheralId,
    VolumeId,
)
from worker.model.instance import Instance, TaskState
from worker.model.operation import Fault, Operation, OperationState, Step, StepOutcome
from worker.model.peripheral import Peripheral
from worker.model.secret import blanked, same_arguments
from worker.model.specification import Interface
from worker.model.swap_sides import other_side
from worker.model.update import Update
from worker.ports import (
    BlockDevices,
    Cancelling,
    Connections,
    Instances,
    OperationRecord,
    Operations,
    Peripherals,
    Progress,
    StuckOperations,
    Updates,
)


class FakeBlockDevices(BlockDevices):
    def __init__(self, world: World) -> None:
        self.world = world

    def get(self, uuid: BlockDeviceId) -> BlockDevice:
        found = self.look(uuid)
        if found is None:
            message = f"no block device {uuid}"
            raise BlockDeviceNotFound(message)
        return found

    def look(self, uuid: BlockDeviceId) -> BlockDevice | None:
        seen = self.world.seen()
        return seen.rows.get(uuid) or seen.removed.get(uuid)

    def of_instance(self, instance: InstanceId) -> tuple[BlockDevice, ...]:
        known = tuple(self.world.seen().rows.values())
        rows = [row for row in known if row.instance == instance]
        return tuple(sorted(rows, key=lambda row: (len(row.device_name), row.device_name)))

    def bearing(self, instance: InstanceId, alias: str) -> BlockDevice | None:
        seen = self.world.seen()
        known = [*seen.removed.values(), *seen.rows.values()]
        found = [row for row in known if (row.instance, row.alias) == (instance, alias)]
        return found[-1] if found else None

    def holding(self, attachment: AttachmentId) -> BlockDevice | None:
        seen = self.world.seen()
        known = [*seen.removed.values(), *seen.rows.values()]
        found = [row for row in known if row.attachment == attachment]
        return found[-1] if found else None

    def reserved_before(self, moment: datetime) -> tuple[BlockDevice, ...]:
        return tuple(
            row
            for row in self.world.seen().rows.values()
            if row.status is DeviceStatus.RESERVED and self.world.reserved_at[row.uuid] < moment
        )

    def missing(self) -> tuple[BlockDevice, ...]:
        rows = self.world.seen().rows.values()
        return tuple(row for row in rows if row.status is DeviceStatus.MISSING)

    def called(self, wwid: str) -> tuple[BlockDevice, ...]:
        return tuple(row for row in self.world.seen().rows.values() if row.wwid == wwid)

    def connected(self) -> tuple[BlockDevice, ...]:
        seen = self.world.seen()
        known = (*seen.removed.values(), *seen.rows.values())
        return tuple(row for row in known if row.connection is not None)

    def insert(self, device: BlockDevice, tell: Update) -> None:
        if self.look(device.uuid) is not None:
            raise IdTaken(device.uuid)
        for row in self.of_instance(device.instance):
            if row.volume == device.volume:
                raise VolumeAlreadyAttached(device.volume)
            if row.device_name == device.device_name:
                raise DeviceNameTaken(device.device_name)
            if row.address == device.address:
                raise AddressTaken(str(device.address))
            if device.tag is not None and row.tag == device.tag:
                raise TagTaken(device.tag)
        for other in FakePeripherals(self.world).of_instance(device.instance):
            if device.address is not None and other.address == device.address:
                raise AddressTaken(str(device.address))
        self.world.commit()
        self.world.rows[device.uuid] = device
        self.world.reserved_at[device.uuid] = self.world.now
        self.world.told.append(tell)

    def amend(self, device: BlockDevice) -> None:
        if self.get(device.uuid).deleted:
            raise DeviceWrongState(device.uuid)
        for row in self.of_instance(device.instance):
            if row.uuid != device.uuid and device.tag is not None and row.tag == device.tag:
                raise TagTaken(device.tag)
        self.world.commit()
        self.world.rows[device.uuid] = device

    def release(self, device: BlockDevice, tell: Update) -> None:
        found = self.get(device.uuid)
        if found.deleted or found.status is not DeviceStatus.RESERVED:
            raise DeviceWrongState(device.uuid)
        self.world.commit()
        _remove_row(device, self.world)
        self.world.told.append(tell)

    def move(self, device: BlockDevice, status: DeviceStatus) -> BlockDevice:
        found = self.get(device.uuid)
        legal = status in LEGAL_MOVES[device.status]
        if found.deleted or found.status is not device.status or not legal:
            raise DeviceWrongState(device.uuid)
        self.world.commit()
        moved = replace(found, status=status)
        self.world.rows[device.uuid] = moved
        return moved

    def save(self, device: BlockDevice) -> None:
        assert device.connection is None or "auth_password" not in device.connection.properties
        self.world.append(partial(_save_row, device))

    def remove(self, device: BlockDevice) -> None:
        self.world.append(partial(_remove_row, device))


def _save_row(device: BlockDevice, world: World) -> None:
    if device.uuid in world.rows:
        world.rows[device.uuid] = device


def _remove_row(device: BlockDevice, world: World) -> None:
    found = world.rows.pop(device.uuid, None)
    if found is not None:
        world.removed[device.uuid] = replace(found, deleted=True)


class FakePeripherals(Peripherals):
    """The host of every row is the one of the world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def of_instance(self, instance: InstanceId) -> tuple[Peripheral, ...]:
        known = tuple(self.world.seen().peripherals.values())
        return tuple(row for row in known if row.instance == instance)

    def look(self, uuid: PeripheralId) -> Peripheral | None:
        seen = self.world.seen()
        return seen.peripherals.get(uuid) or seen.unplugged.get(uuid)

    def bearing(self, instance: InstanceId, alias: str) -> Peripheral | None:
        seen = self.world.seen()
        known = [*seen.unplugged.values(), *seen.peripherals.values()]
        found = [row for row in known if (row.instance, row.alias) == (instance, alias)]
        return found[-1] if found else None

    def having(self, device: HostDevice) -> Peripheral | None:
        known = tuple(self.world.seen().peripherals.values())
        return next((row for row in known if row.what == device), None)

    def insert(self, peripheral: Peripheral) -> None:
        _check_new(peripheral, self.world)
        _check_no_disk(peripheral, self.world)
        self.world.commit()
        self.world.peripherals[peripheral.uuid] = peripheral

    def move(self, peripheral: Peripheral, status: DeviceStatus) -> Peripheral:
        found = self.look(peripheral.uuid)
        legal = status in LEGAL_MOVES[peripheral.status]
        if found is None or found.deleted or found.status is not peripheral.status or not legal:
            raise DeviceWrongState(peripheral.uuid)
        self.world.commit()
        moved = replace(found, status=status)
        self.world.peripherals[peripheral.uuid] = moved
        return moved

    def save(self, peripheral: Peripheral) -> None:
        self.world.append(partial(_save_peripheral, peripheral))

    def remove(self, peripheral: Peripheral) -> None:
        self.world.append(partial(_remove_peripheral, peripheral))


def _check_no_disk(peripheral: Peripheral, world: World) -> None:
    disks = FakeBlockDevices(world).of_instance(peripheral.instance)
    if peripheral.address is not None and peripheral.address in {d.address for d in disks}:
        raise AddressTaken(str(peripheral.address))


def _check_new(peripheral: Peripheral, world: World) -> None:
    if FakePeripherals(world).look(peripheral.uuid) is not None:
        raise IdTaken(peripheral.uuid)
    for row in world.seen().peripherals.values():
        _check_unlike(row, peripheral)


def _check_unlike(row: Peripheral, peripheral: Peripheral) -> None:
    if isinstance(peripheral.what, HostDevice) and row.what == peripheral.what:
        raise PeripheralTaken(str(peripheral.what))
    if row.instance != peripheral.instance:
        return
    port = _port(peripheral)
    if row.alias == peripheral.alias or (port is not None and port == _port(row)):
        raise PeripheralTaken(peripheral.alias)
    if peripheral.address is not None and row.address == peripheral.address:
        raise AddressTaken(str(peripheral.address))


def _port(row: Peripheral) -> str | None:
    return row.what.port if isinstance(row.what, Interface) else None


def _save_peripheral(peripheral: Peripheral, world: World) -> None:
    if peripheral.uuid in world.peripherals:
        world.peripherals[peripheral.uuid] = peripheral


def _remove_peripheral(peripheral: Peripheral, world: World) -> None:
    found = world.peripherals.pop(peripheral.uuid, None)
    if found is not None:
        world.unplugged[peripheral.uuid] = replace(found, deleted=True)


class FakeConnections(Connections):
    def __init__(self, world: World) -> None:
        self.world = world

    def put(self, device: BlockDevice, connection: Connection) -> None:
        kept = connection.without_secrets()
        self.world.append(lambda world: world.connections.__setitem__(device.uuid, kept))

    def get(self, device: BlockDeviceId) -> Connection | None:
        return self.world.seen().connections.get(device)

    def list(self) -> tuple[ConnectionRecord, ...]:
        return tuple(
            ConnectionRecord(
                device=uuid,
                instance=self._side(uuid).instance,
                volume=self._side(uuid).its_volume,
                connection=connection,
            )
            for uuid, connection in tuple(self.world.seen().connections.items())
        )

    def _side(self, uuid: BlockDeviceId) -> BlockDevice:
        """Return the row of a record, or the side of a swap that the record is of."""
        rows = self.world.seen().rows.values()
        sides = {row.swap.uuid: other_side(row) for row in rows if row.swap is not None}
        return sides.get(uuid) or FakeBlockDevices(self.world).get(uuid)

    def others(self, device: BlockDeviceId, volume: VolumeId) -> frozenset[BlockDeviceId]:
        recorded = {each.device for each in self.list() if each.volume == volume}
        attached = {
            row.uuid
            for row in tuple(self.world.seen().rows.values())
            if row.volume == volume and row.status is DeviceStatus.ATTACHED
        }
        return frozenset(recorded | attached) - {device}

    def drop(self, device: BlockDeviceId) -> None:
        self.world.append(partial(_drop_connection, device))


def _drop_connection(device: BlockDeviceId, world: World) -> None:
    world.connections.pop(device, None)


class FakeInstances(Instances):
    def __init__(self, world: World) -> None:
        self.world = world

    def get(self, instance: InstanceId) -> Instance:
        try:
            return self.world.seen().instances[instance]
        except KeyError as error:
            raise InstanceNotFound(instance) from error

    def list(self) -> tuple[Instance, ...]:
        return tuple(sorted(self.world.seen().instances.values(), key=lambda found: found.name))

    def in_rescue(self) -> tuple[Instance, ...]:
        return tuple(found for found in self.list() if found.rescue is not None)

    def insert(
        self,
        instance: Instance,
        devices: Sequence[BlockDevice] = (),
        others: Sequence[Peripheral] = (),
    ) -> None:
        if instance.uuid in self.world.instances:
            raise InstanceTaken(instance.uuid)
        for device in devices:
            if device.uuid in {**self.world.rows, **self.world.removed}:
                raise IdTaken(device.uuid)
        for each in others:
            _check_new(each, self.world)
        self.world.commit()
        self.world.peripherals.update({each.uuid: each for each in others})
        self.world.instances[instance.uuid] = instance
        self.world.rows.update({device.uuid: device for device in devices})

    def adopt_peripherals(self, instance: Instance, others: Sequence[Peripheral]) -> None:
        for each in others:
            _check_new(each, self.world)
            _check_no_disk(each, self.world)
        self.world.commit()
        self.world.peripherals.update({each.uuid: each for each in others})
        kept = self.world.instances[instance.uuid]
        self.world.instances[instance.uuid] = replace(kept, adoption=instance.adoption)

    def save(self, instance: Instance) -> None:
        self.world.append(partial(_save_instance, instance))

    def change_task(
        self, instance: InstanceId, *, was: TaskState | None, becomes: TaskState | None
    ) -> None:
        self.world.append(partial(_change_task, instance, was, becomes))

    def remove(self, instance: InstanceId) -> None:
        self.world.append(partial(_remove_instance, instance))


def _change_task(
    instance: InstanceId, was: TaskState | None, becomes: TaskState | None, world: World
) -> None:
    kept = world.instances.get(instance)
    if kept is not None and kept.task_state == was:
        world.instances[instance] = replace(kept, task_state=becomes)


def _remove_instance(instance: InstanceId, world: World) -> None:
    world.instances.pop(instance, None)


def _save_instance(instance: Instance, world: World) -> None:
    kept = world.instances.get(instance.uuid)
    if kept is not None:
        frozen = replace(instance, specification=kept.specification)
        world.instances[instance.uuid] = frozen


class FakeUpdates(Updates):
    def __init__(self, world: World) -> None:
        self.world = world

    def tell(self, update: Update) -> None:
        self.world.note(lambda world: world.told.append(update))


class FakeOperations(Operations):
    def __init__(self, world: World) -> None:
        self.world = world

    def accept(self, operation: Operation) -> tuple[Operation, bool]:
        earlier = self.world.operations.get(operation.id)
        if earlier is None:
            kept = replace(operation, accepted_at=self.world.tick())
            self.world.operations[operation.id] = kept
            return kept, True
        same = same_arguments(earlier.arguments, operation.arguments)
        if earlier.method != operation.method or not same:
            raise OperationConflict(operation.id)
        return earlier, False

    def accept_new(self, operations: Sequence[Operation]) -> tuple[Operation, ...]:
        ids = [each.id for each in operations]
        if len(set(ids)) < len(ids) or not self.world.operations.keys().isdisjoint(ids):
            raise OperationConflict
        return tuple(self.accept(each)[0] for each in operations)

    def get(self, operation: OperationId) -> Operation:
        try:
            found = self.world.operations[operation]
        except KeyError as error:
            raise OperationNotFound(operation) from error
        return replace(found, steps=tuple(self.world.steps.get(operation, ())))

    def list(
        self,
        *,
        instance: InstanceId | None = None,
        states: Sequence[OperationState] = (),
        limit: int | None = None,
    ) -> tuple[Operation, ...]:
        found = [
            operation
            for operation in reversed(self.world.operations.values())
            if (instance is None or operation.instance == instance)
            and (not states or operation.state in states)
        ]
        return tuple(found[:limit])

    def unfinished(self) -> tuple[Operation, ...]:
        waiting = [found for found in self.world.operations.values() if not found.state.ended]
        return tuple(self.get(operation.id) for operation in waiting)

    def last_for(self, device: DeviceId, method: str | None = None) -> Operation | None:
        found = [
            one
            for one in self.world.operations.values()
            if one.block_device == device and method in (None, one.method)
        ]
        return found[-1] if found else None

    def mark_late(self, operation: OperationId) -> None:
        if not self.world.operations[operation].state.ended:
            FakeOperationRecord(self.world, operation).change(late=True)


class FakeCancelling(Cancelling):
    def __init__(self, world: World) -> None:
        self.world = world

    def ask(self, operation: OperationId, methods: Collection[str]) -> Operation:
        kept = FakeOperations(self.world).get(operation)
        on_its_way = kept.state is OperationState.RUNNING and not kept.past_commit_point
        if kept.state is not OperationState.QUEUED and not (on_its_way and kept.method in methods):
            raise OperationWrongState(operation)
        return FakeOperationRecord(self.world, operation).change(cancel_requested=True)

    def asked(self, operation: OperationId) -> bool:
        kept = self.world.operations.get(operation)
        return kept is not None and kept.cancel_requested


class FakeStuckOperations(StuckOperations):
    def __init__(self, world: World) -> None:
        self.world = world

    def reopen(self, operation: OperationId) -> Operation:
        began = self._stuck(operation).started_at is not None
        return self._leave(
            operation,
            state=OperationState.RUNNING if began else OperationState.QUEUED,
            attempts=0,
            fault=None,
            ended_at=None,
        )

    def abandon(self, operation: OperationId, tell: Update | None) -> Operation:
        self._stuck(operation)
        ended = self._leave(
            operation,
            state=OperationState.ABANDONED,
            ended_at=self.world.tick(),
            arguments=blanked(self._stuck(operation).arguments),
        )
        if tell is not None:
            self.world.told.append(tell)
        return ended

    def _stuck(self, operation: OperationId) -> Operation:
        found = FakeOperations(self.world).get(operation)
        if found.state is not OperationState.STUCK:
            raise OperationWrongState(operation)
        return found

    def _leave(self, operation: OperationId, **fields: object) -> Operation:
        self.world.commit()
        FakeOperationRecord(self.world, operation).change(**fields)
        return FakeOperations(self.world).get(operation)


class FakeProgress(Progress):
    def __init__(self, world: World, operation: Operation | None) -> None:
        self.world = world
        self._operation = operation
        self._passed = operation is not None and operation.past_commit_point

    @property
    def operation(self) -> Operation | None:
        return self._operation

    @property
    def past_commit_point(self) -> bool:
        return self._passed

    def reached(self, step: str) -> bool:
        if self._operation is None:
            return False
        return any(known.name == step for known in self.world.steps.get(self._operation.id, ()))

    def pass_commit_point(self) -> None:
        self._passed = True
        if self._operation is not None:
            record = FakeOperationRecord(self.world, self._operation.id)
            self.world.note(lambda _: record.passed())

    def say(self, percent: int) -> None:
        self.world.commit()
        if self._operation is not None:
            FakeOperationRecord(self.world, self._operation.id).change(progress=percent)

    def rest(self, seconds: float) -> None:
        """Wait for nothing: a copy of a fake comes further with each look."""
        if self._operation is not None:
            FakeCancelling(self.world).check(self._operation)


class FakeOperationRecord(OperationRecord):
    def __init__(self, world: World, operation: OperationId) -> None:
        self.world = world
        self.id = operation
        self.begun = False
        self.looks: dict[int, Step] = {}
        kept = world.operations.get(operation)
        self.ran_before = kept is not None and kept.started_at is not None
        self.last = 0

    def change(self, **fields: object) -> Operation:
        changed = replace(self.world.operations[self.id], **fields)  # type: ignore[arg-type]
        self.world.operations[self.id] = changed
        return changed

    def passed(self) -> None:
        self.change(past_commit_point=True)

    def start(self, tell: Update | None, deadline: datetime | None = None) -> None:
        if self.begun:
            return
        self.begun = True
        self.world.note(lambda _: self._started(tell, deadline))

    def _started(self, tell: Update | None, deadline: datetime | None) -> None:
        begun = self.world.operations[self.id].state is OperationState.RUNNING
        started_at = self.world.operations[self.id].started_at or self.world.tick()
        self.change(state=OperationState.RUNNING, started_at=started_at, deadline=deadline)
        if tell is not None and not begun:
            self.world.told.append(tell)

    def open_step(self, name: str, *, look: bool = False) -> int:
        started = self.world.operations[self.id].state is OperationState.RUNNING
        waits = look and started and not self.ran_before
        # More than is promised for a look, since reads here do not see what waits. What a crash
        # in a look could lose, a crash just after the step before it loses as well.
        self.world.commit()
        step = self._step(name)
        if waits:
            self.looks[step.number] = step
        else:
            self._written().append(step)
        return step.number

    def _step(self, name: str) -> Step:
        self.last = max(self.last, len(self._written())) + 1
        attempt = self.world.operations[self.id].attempts
        return Step(number=self.last, attempt=attempt, name=name, started_at=self.world.tick())

    def _written(self) -> list[Step]:
        return self.world.steps.setdefault(self.id, [])

    def close_step(self, number: int, seconds: float, fault: Fault | None) -> None:
        outcome = StepOutcome.DONE if fault is None else StepOutcome.FAILED
        look = self.looks.pop(number, None)
        self.world.note(lambda _: self._close(number, look, seconds, outcome, fault))

    def _close(
        self,
        number: int,
        look: Step | None,
        seconds: float,
        outcome: StepOutcome,
        fault: Fault | None,
    ) -> None:
        steps = self._written()
        if look is not None:
            steps.append(look)
        at = next(at for at, step in enumerate(steps) if step.number == number)
        steps[at] = replace(steps[at], seconds=seconds, outcome=outcome, fault=fault)

    def leave(self) -> None:
        self.world.commit()

    def count_attempt(self) -> int:
        self.world.commit()
        steps = self.world.steps[self.id]
        crashed = Fault(code="worker.died", message="the worker died in this step")
        steps[:] = [
            replace(step, outcome=StepOutcome.FAILED, fault=crashed)
            if step.outcome is StepOutcome.OPEN
            else step
            for step in steps
        ]
        return self.change(attempts=self.world.operations[self.id].attempts + 1).attempts

    def end(self, state: OperationState, fault: Fault | None, tell: Update | None) -> Operation:
        self.world.commit()
        if tell is not None:
            self.world.told.append(tell)
        arguments = self.world.operations[self.id].arguments
        return self.change(
            state=state,
            fault=fault,
            ended_at=self.world.tick(),
            arguments=arguments if state is OperationState.STUCK else blanked(arguments),
        )
