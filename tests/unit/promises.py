"""What must hold of a world; each function returns what is broken, in words."""

from collections import Counter
from collections.abc import Collection, Mapping

from tests.fakes.hypervisor import shown
from tests.fakes.images import disk_path
from tests.fakes.volume_service import STATUS_WITH, FakeAttachments
from tests.fakes.world import FakeGuest, World
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.disk import Disk
from worker.model.ids import BlockDeviceId, InstanceId, OperationId, VolumeId
from worker.model.instance import TAKEN_FROM, PowerChange, VmState
from worker.model.operation import Operation, OperationState, StepOutcome
from worker.model.rescue.words import Mode, rescue_alias
from worker.model.update import Event
from worker.model.volume import GIB, Attachment, AttachmentStatus, VolumeStatus
from worker.rpc.methods import OPERATIONS

FOREIGN = "/dev/foreign/"
"""Where the disks are that somebody else gave a guest."""


def identity(row: BlockDevice) -> tuple[object, ...]:
    """Return what never changes in a row's life."""
    return (row.instance, row.volume, row.alias, row.serial, row.device_name, row.address)


def volume_of(disk: Disk) -> VolumeId:
    """Return the volume that a disk of ours shows."""
    return VolumeId(disk.source.name.removeprefix("/dev/"))


def ours(layout: Mapping[str, Disk]) -> list[Disk]:
    """Return the disks of a layout that are volumes which the worker plugged in."""
    names = ((disk, disk.source.name) for disk in layout.values())
    return [disk for disk, name in names if name.startswith("/dev/") and FOREIGN not in name]


def ground_pulled(world: World) -> list[str]:
    """At any instant: what stands on something has it under it."""
    found = [*world.harm]
    recorded = {one.properties["device_path"] for one in world.connections.values()}
    held = {one.volume for one in world.attachments.values()}
    for instance, guest in world.guests.items():
        found += [
            f"{instance} has {disk.alias}, and the host is not connected"
            for disk in ours(guest.live) + ours(guest.persistent)
            if volume_of(disk) not in world.connected
        ]
    for connected in world.connected:
        if f"/dev/{connected}" not in recorded:
            found.append(f"{connected} is connected, and no record says so")
        if connected not in held:
            found.append(f"{connected} is connected, and has no attachment")
    return found


def twice_live(world: World) -> list[str]:
    """One live row per (instance, volume), name and address; none that is removed too."""
    rows = world.rows.values()
    keys = [key for row in rows for key in _keys(row)]
    found = [f"{count} live rows for {key}" for key, count in Counter(keys).items() if count > 1]
    return found + [f"row {uuid} is live again" for uuid in world.rows.keys() & world.removed]


def _keys(row: BlockDevice) -> list[tuple[str, ...]]:
    return [
        (row.instance, row.its_volume),
        (row.instance, row.device_name),
        (row.instance, str(row.address)),
    ]


def told_wrongly(world: World, times_stuck: Counter[OperationId]) -> list[str]:
    """A start at most once and first; then each stop that needs an operator; then one end."""
    told: dict[OperationId, list[Event]] = {}
    for update in world.told:
        if update.operation is not None and update.event not in BESIDE:
            told.setdefault(update.operation, []).append(update.event)
    return [
        f"{operation.method} {operation.id} is {operation.state} and was told as {events}"
        for operation in world.operations.values()
        if (events := told.get(operation.id, [])) != _wanted(operation, times_stuck[operation.id])
    ]


BESIDE = (Event.REFUSED, Event.MISSING, Event.RETURNED)
"""What is told of an operation's message, or of a volume that it found to be away, or back."""


def _wanted(operation: Operation, stuck: int) -> list[Event]:
    phases = OPERATIONS[operation.method].phases
    ends = {OperationState.SUCCEEDED: "end", OperationState.FAILED: "error"}
    ends |= {OperationState.ABANDONED: "error"}
    begun = [phases.start] if phases and operation.started_at else []
    end = [getattr(phases, ends[operation.state])] if phases and operation.state in ends else []
    return begun + [Event.STUCK] * stuck + end


def stuck_unnamed(world: World) -> list[str]:
    """What is stuck has a fault that says what is left, and a row that is not called fine."""
    fine = (DeviceStatus.RESERVED, DeviceStatus.ATTACHED)
    found = []
    for operation in world.operations.values():
        if operation.state is not OperationState.STUCK:
            continue
        fault = operation.fault
        if fault is None or not any(says in fault.message for says in SAYS):
            found.append(f"{operation.id} is stuck and says {fault}")
        row = _row(operation, world)
        named = operation.method in LEAVING_THE_ROW or never_began(operation)
        if not named and (row is None or row.status in fine):
            found.append(f"{operation.method} {operation.id} is stuck and its row is {row}")
    return found


def never_began(operation: Operation) -> bool:
    """Tell of an attach that was refused whether it is stuck on giving back what came with it.

    The row may be gone by then, and the attachment that it was given is all that is left.
    """
    left = "" if operation.fault is None else operation.fault.message
    return operation.method == "attach_volume" and left.endswith(": give reservation back")


OF_RESCUES = ("rescue_instance", "unrescue_instance")

LEAVING_THE_ROW = (*OF_RESCUES, "extend_volume")
"""What leaves a row as it is while it is stuck."""

SAYS = ("not taken back", "it can only go forward", "the worker died")


def disagreements(
    world: World, instance: InstanceId, callers: Collection[str], excused: Collection[VolumeId]
) -> list[str]:
    """With nothing under way on an instance, all views say what its live rows say.

    ``callers`` are attachments that callers made themselves; ``excused`` volumes are those of
    which an operator took care by hand.
    """
    rows = [
        row for row in world.rows.values() if row.instance == instance and row.volume not in excused
    ]
    attached = {row.its_volume: row for row in rows if row.status is DeviceStatus.ATTACHED}
    missing = {row.its_volume: row for row in rows if row.status is DeviceStatus.MISSING}
    at_rest = (DeviceStatus.RESERVED, DeviceStatus.ATTACHED, DeviceStatus.MISSING)
    restless = [f"{row.uuid} is {row.status} at rest" for row in rows if row.status not in at_rest]
    guest = world.guests[instance]
    differences = [
        *_rescue(world, instance),
        *_guest(guest, attached, excused, legacy=in_legacy_rescue(world, instance)),
        *_service(_held(world, instance, excused), attached | missing, callers),
        *_host(_recorded(world, instance, excused), attached, missing),
    ]
    return restless + [f"{instance}: {difference}" for difference in differences]


Attached = Mapping[VolumeId, BlockDevice]


def in_rescue(world: World, instance: InstanceId) -> bool:
    """Tell whether the guest runs in rescue."""
    return rescue_alias(instance) in world.guests[instance].live


def in_legacy_rescue(world: World, instance: InstanceId) -> bool:
    """Tell whether it does, without most of its disks."""
    rescue = world.instances[instance].rescue if instance in world.instances else None
    return in_rescue(world, instance) and rescue is not None and rescue.mode is Mode.LEGACY


def _rescue(world: World, instance: InstanceId) -> list[str]:
    """An instance is in rescue or has nothing of it; its persistent layout never has."""
    found, guest = world.instances.get(instance), world.guests[instance]
    if found is None:
        return []
    rescue = found.rescue
    own = [path for path in world.files if path.startswith(f"/local/{instance}/")]
    kept = [] if rescue is None else [disk_path(instance, rescue.disk.uuid)]
    said = [f"files {own} are left of a rescue {rescue}"] if not {*own} <= {*kept} else []
    if (rescue is not None) is not (found.vm_state is VmState.RESCUED):
        said.append(f"it is {found.vm_state}, and its rescue is {rescue}")
    if rescue is None and in_rescue(world, instance):
        said.append("its guest is in rescue")
    return said + ["it is kept in rescue"] * (rescue_alias(instance) in guest.persistent)


def _guest(
    guest: FakeGuest, attached: Attached, excused: Collection[VolumeId], *, legacy: bool
) -> list[str]:
    wanted = {
        (row.alias, row.target, row.serial, row.address, f"/dev/{row.volume}")
        for row in attached.values()
    }
    found = []
    whole = guest.running and not legacy
    for layout in (guest.live, guest.persistent) if whole else (guest.persistent,):
        seen = [shown(disk) for disk in ours(layout) if volume_of(disk) not in excused]
        has = {(one.alias, one.target, one.serial, one.address, one.source) for one in seen}
        if has != wanted:
            found.append(f"a layout has {has}, the rows say {wanted}")
    return found


def _held(
    world: World, instance: InstanceId, excused: Collection[VolumeId]
) -> dict[VolumeId, Attachment]:
    return {
        held.volume: held
        for held in world.attachments.values()
        if held.instance == instance and held.volume not in excused
    }


def _service(
    held: Mapping[VolumeId, Attachment], attached: Attached, callers: Collection[str]
) -> list[str]:
    left = [
        f"attachment {one.id} belongs to no attached row"
        for volume, one in held.items()
        if volume not in attached and one.id not in callers
    ]
    wanted = {
        volume: (row.attachment, AttachmentStatus.ATTACHED) for volume, row in attached.items()
    }
    has = {volume: (one.id, one.status) for volume, one in held.items() if volume in attached}
    return left if has == wanted else [*left, f"attachments are {has}, the rows say {wanted}"]


def _recorded(
    world: World, instance: InstanceId, excused: Collection[VolumeId]
) -> set[BlockDeviceId]:
    every = {**world.removed, **world.rows}
    return {
        uuid
        for uuid in world.connections
        if every[uuid].instance == instance and every[uuid].volume not in excused
    }


def _host(recorded: Collection[BlockDeviceId], attached: Attached, missing: Attached) -> list[str]:
    """Of a missing volume there is a record if the host could not let go of it."""
    wanted = {row.uuid for row in attached.values()}
    if {*recorded} - {row.uuid for row in missing.values()} == wanted:
        return []
    return [f"connection records are of {recorded}, attached are {wanted}"]


def volumes_astray(world: World) -> list[str]:
    """With nothing under way at all, each volume is what one of its attachments makes it."""
    found = []
    for volume in map(world.volumes.__getitem__, world.volumes.keys() - left_detaching(world)):
        held = [one.status for one in world.attachments.values() if one.volume == volume.id]
        wanted = {STATUS_WITH[status] for status in held} or {VolumeStatus.AVAILABLE}
        if volume.status not in wanted:
            found.append(f"{volume.id} is {volume.status}, its attachments say {wanted}")
    return found


def left_detaching(world: World) -> set[VolumeId]:
    """Return the volumes whose service was away when it was to be told that they stay."""
    return {
        VolumeId(world.operations[operation].arguments["volume_id"])
        for operation, steps in world.steps.items()
        for step in steps
        if step.name == "volumes.roll_detaching" and step.outcome is StepOutcome.FAILED
    }


REFUSED = (
    "block_device.wrong_state",
    "block_device.not_found",
    "instance.not_found",
    "instance.wrong_state",
    "instance.rescued",
    "operation.expired",
    "operation.blocked",
)
"""What an attach ends with that never began: it gives back what nobody has begun with."""

ELSEWHERE = ("instance.not_found", "instance.wrong_state")
"""What one ends with whose instance is not this host's, or is on its way: its row stays."""


def overdone(operation: Operation, before: World, after: World) -> list[str]:
    """An operation without deaths or other hands: what failed changed nothing but its own.

    Of an attach that failed, row and attachment go. Whatever the end, no row but its own goes.
    """
    gone = before.rows.keys() - after.rows.keys() - {operation.block_device}
    found = [f"{operation.method} {operation.id} took {gone} away"] if gone else []
    expected = _before(operation, before)
    for volume in left_detaching(after):
        expected.volumes[volume] = after.volumes[volume]
    if operation.method == "unrescue_instance":
        _forget_what_others_plugged(operation, expected, after)
    if operation.state is OperationState.FAILED and after != expected and not _lost(before, after):
        found.append(f"{operation.method} {operation.id} failed with {operation.fault} and left")
    return found


def _forget_what_others_plugged(operation: Operation, expected: World, after: World) -> None:
    """A rescue guest that was off and is started again has what the rescue gave it.

    What other hands plugged into it while it ran was never in that layout.
    """
    if operation.instance not in after.guests:
        return
    ours = {row.alias for row in expected.rows.values()}
    live = expected.guests[operation.instance].live
    kept = after.guests[operation.instance].live
    for alias in [alias for alias in live if alias not in ours and alias not in kept]:
        if not alias.startswith(RESCUE_ALIAS):
            del live[alias]


RESCUE_ALIAS = "ua-rescue-"


def _lost(before: World, after: World) -> bool:
    """Tell whether a guest was brought up again without a volume that was away."""
    found = DeviceStatus.MISSING
    return any(
        row.status is found and before.rows[uuid].status is not found
        for uuid, row in after.rows.items()
        if uuid in before.rows
    )


def underdone(operation: Operation, before: World) -> list[str]:
    """An operation without any trouble does what it was asked, if it could be done."""
    if _superseded(operation, before):
        told = None if operation.fault is None else operation.fault.code
        return [] if told in SUPERSEDED else [f"{operation.id} was superseded, and told {told}"]
    if operation.method in OF_RESCUES:
        return _rescue_underdone(operation, before)
    row = _row(operation, before)
    if operation.state is OperationState.SUCCEEDED or row is None or not _may(operation, row):
        return []
    held = FakeAttachments(before).find(row.its_volume, row.instance)
    given = operation.arguments.get("attachment_id")
    fits = given is None or (held is not None and given == held.id)
    if fits and _can(operation, row, before):
        return [f"{operation.method} {operation.id} was no trouble and failed: {operation.fault}"]
    return []


def _rescue_underdone(operation: Operation, before: World) -> list[str]:
    """It is refused while a disk is not there for certain, and by what is there already."""
    rows = [row for row in before.rows.values() if row.instance == operation.instance]
    wanted = all(_is_there(row, before) for row in rows)
    found = None if operation.instance is None else before.instances.get(operation.instance)
    change = PowerChange(operation.method.removesuffix("_instance"))
    blocked = operation.fault is not None and operation.fault.code == "operation.blocked"
    if operation.state is OperationState.SUCCEEDED or found is None or blocked:
        return []
    if wanted and found.vm_state in TAKEN_FROM[change]:
        return [f"{operation.method} {operation.id} was no trouble and failed: {operation.fault}"]
    return []


def _is_there(row: BlockDevice, world: World) -> bool:
    return row.status is DeviceStatus.ATTACHED and row.attachment in world.attachments


SUPERSEDED = ("block_device.superseded", "operation.expired", "operation.blocked")


def _row(operation: Operation, world: World) -> BlockDevice | None:
    uuid = operation.block_device
    return None if uuid is None else world.rows.get(BlockDeviceId(uuid))


def _superseded(operation: Operation, world: World) -> bool:
    """Tell whether a detach means a row that is gone, and the volume is there as a newer one."""
    uuid = operation.block_device
    gone = None if uuid is None else world.removed.get(BlockDeviceId(uuid))
    place = operation.instance, operation.arguments.get("volume_id")
    if gone is None or (gone.instance, gone.volume) != place:
        return False
    return any((row.instance, row.volume) == place for row in world.rows.values())


def _may(operation: Operation, row: BlockDevice) -> bool:
    refused = ("operation.expired", "operation.blocked", "instance.rescued")
    told = operation.fault is not None and operation.fault.code in refused
    return operation.instance == row.instance and not told


def _can(operation: Operation, row: BlockDevice, world: World) -> bool:
    guest, volume = world.guests[row.instance], world.volumes[row.its_volume]
    if operation.method == "detach_volume":
        keeps = guest.busy and row.alias in guest.live
        return row.status is DeviceStatus.ATTACHED and not keeps
    if operation.method == "extend_volume":
        asked = int(operation.arguments["new_size"])
        least = (row.volume_size or 0) * GIB
        return row.status is DeviceStatus.ATTACHED and least <= asked <= volume.size
    free = volume.status is VolumeStatus.AVAILABLE or volume.multiattach
    anothers = row.alias in guest.persistent
    return (
        operation.method == "attach_volume"
        and row.status is DeviceStatus.RESERVED
        and free
        and not anothers
    )


def _before(operation: Operation, world: World) -> World:
    left = world.copy()
    failed = operation.state is OperationState.FAILED
    if operation.method != "attach_volume" or operation.fault is None or not failed:
        return left
    if operation.fault.code in REFUSED:
        return _given_back(operation, left)
    row = left.rows.pop(operation.arguments["bdm_uuid"])
    service = FakeAttachments(left)
    held = service.find(row.its_volume, row.instance)
    if held is not None and operation.arguments["attachment_id"] in (None, held.id):
        service.delete(held.id)
    return left


def _given_back(operation: Operation, left: World) -> World:
    """Take away a row that is only reserved, and the attachment named, unless a row is for it."""
    assert operation.fault is not None
    uuid, named = operation.arguments["bdm_uuid"], operation.arguments["attachment_id"]
    row = left.rows.get(uuid) or left.removed.get(uuid)
    if row is None or row.instance != operation.arguments["instance_uuid"]:
        return left
    if operation.fault.code not in ELSEWHERE and row.status is DeviceStatus.RESERVED:
        left.rows.pop(uuid, None)
    place = row.instance, row.volume
    held = left.attachments.get(named)
    unused = all((other.instance, other.volume) != place for other in left.rows.values())
    fits = held is not None and (held.instance, held.volume) == place
    if held is not None and fits and unused and held.status is AttachmentStatus.RESERVED:
        FakeAttachments(left).delete(held.id)
    return left
