"""Fail and crash at each outside call: the world is as before, as after, or stuck and named.

One test for every handler of the table: a scene is a world, an operation, and what the world
may be afterwards.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product

import pytest

from tests import fakes
from tests.fakes.world import World
from tests.unit import (
    adopt_scenes,
    alias_scenes,
    build_scenes,
    drifts,
    extend_scenes,
    move_scenes,
    older_scenes,
    opened_scenes,
    peripheral_scenes,
    power_scenes,
    rescue_scenes,
    residues,
    scenes,
    swap_scenes,
)
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    VOLUME,
    Crash,
    Refusing,
    Trouble,
    operation,
    run,
)
from worker.execution import Kind
from worker.handlers.parts.row_of import row_of
from worker.model.block_device import DeviceStatus
from worker.model.ids import AttachmentId
from worker.model.instance import VmState
from worker.model.operation import WORKER_DIED, Operation, OperationState, StepOutcome
from worker.model.peripheral import Peripheral
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus
from worker.rpc.methods import OPERATIONS
from worker.steps import LOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """``before`` is the world an operation that failed must leave: the caller's way back.

    ``without`` makes of a world the one in which a volume is missing, for an operation that goes
    on without it; ``plain`` of the world of one that failed what is compared.
    """

    start: Callable[[], World]
    before: Callable[[], World]
    asked: Operation
    without: Callable[[World], World] | None = None
    plain: Callable[[World], World] = lambda world: world


def reserved() -> World:
    world = scenes.world()
    scenes.reserve(world)
    return world


def reserved_on_a_stopped_guest() -> World:
    world = scenes.world(VmState.STOPPED)
    scenes.reserve(world)
    return world


GIVEN = AttachmentId("a77ac4ed-0000-4000-8000-000000000001")


def reserved_with_an_attachment() -> World:
    world = reserved()
    world.attachments[GIVEN] = Attachment(
        id=GIVEN, volume=VOLUME, instance=INSTANCE, status=AttachmentStatus.RESERVED
    )
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], status=VolumeStatus.RESERVED)
    return world


def attached() -> World:
    world = scenes.world()
    scenes.attach(world)
    return world


def reserved_beside_another_guest() -> World:
    world = scenes.shared()
    scenes.reserve(world, multiattach=True)
    return world


def attached_beside_another_guest() -> World:
    world = scenes.shared()
    scenes.attach(world)
    return world


def paused_by_other_hands() -> World:
    world = scenes.world()
    world.guests[INSTANCE].vm_state = VmState.PAUSED
    return world


def reserved_and_forgotten() -> World:
    world = reserved()
    world.now += timedelta(days=1)
    return world


def reserved_with_an_attachment_and_forgotten() -> World:
    world = reserved_with_an_attachment()
    world.now += timedelta(days=1)
    return world


def detached_but_kept_by_qemu() -> World:
    world = attached()
    run(world, operation("detach_volume", number=7, **scenes.detach_arguments()))
    world.guests[INSTANCE].ghosts.add(f"ua-{VOLUME}")
    return world


RETURN = operation("return_volume", instance_uuid=INSTANCE, bdm_uuid=power_scenes.DATA)

SCENES = {
    "attach": Scene(
        start=reserved,
        before=scenes.world,
        asked=operation("attach_volume", **scenes.attach_arguments()),
    ),
    "attach what is opened with a password and a passphrase": Scene(
        start=opened_scenes.reserved,
        before=opened_scenes.guarded,
        asked=operation("attach_volume", **scenes.attach_arguments()),
    ),
    "start with volumes that are opened with a password": Scene(
        start=opened_scenes.off,
        before=opened_scenes.off,
        asked=operation("start_instance", instance_uuid=INSTANCE),
        without=power_scenes.without,
        plain=power_scenes.restored,
    ),
    "reboot a guest whose volumes are opened with a password": Scene(
        start=opened_scenes.on,
        before=opened_scenes.on,
        asked=operation("reboot_instance", instance_uuid=INSTANCE),
        without=power_scenes.without,
        plain=power_scenes.restored,
    ),
    "rescue a guest whose root is opened with a password": Scene(
        start=opened_scenes.boots_from_it,
        before=opened_scenes.boots_from_it,
        asked=rescue_scenes.asked(rescue_scenes.KERNEL_IMAGE),
    ),
    "unrescue a guest whose root is opened with a password": Scene(
        start=opened_scenes.rescued,
        before=opened_scenes.rescued,
        asked=rescue_scenes.back(),
    ),
    "bring back a guest whose volumes are opened with a password": Scene(
        start=opened_scenes.ran_before_the_boot,
        before=opened_scenes.ran_before_the_boot,
        asked=operation("resume_instance", instance_uuid=INSTANCE),
    ),
    "give a volume back that is opened with a password": Scene(
        start=opened_scenes.missing,
        before=opened_scenes.missing,
        asked=scenes.operation("return_volume", instance_uuid=INSTANCE, bdm_uuid=power_scenes.DATA),
    ),
    "attach to a stopped guest": Scene(
        start=reserved_on_a_stopped_guest,
        before=lambda: scenes.world(VmState.STOPPED),
        asked=operation("attach_volume", **scenes.attach_arguments()),
    ),
    "attach with the caller's attachment": Scene(
        start=reserved_with_an_attachment,
        before=scenes.world,
        asked=operation("attach_volume", **scenes.attach_arguments(), attachment_id=GIVEN),
    ),
    "attach what another guest of the host has": Scene(
        start=reserved_beside_another_guest,
        before=scenes.shared,
        asked=operation("attach_volume", **scenes.attach_arguments()),
    ),
    "detach what another guest of the host has": Scene(
        start=attached_beside_another_guest,
        before=attached_beside_another_guest,
        asked=operation("detach_volume", **scenes.detach_arguments()),
    ),
    "detach": Scene(
        start=attached,
        before=attached,
        asked=operation("detach_volume", **scenes.detach_arguments()),
    ),
    "detach from a running guest that knows no alias of ours": Scene(
        start=older_scenes.older,
        before=older_scenes.older,
        asked=operation("detach_volume", **scenes.detach_arguments()),
    ),
    "detach from a guest that knows no alias of ours": Scene(
        start=lambda: older_scenes.older(*older_scenes.BOTH),
        before=lambda: older_scenes.older(*older_scenes.BOTH),
        asked=operation("detach_volume", **scenes.detach_arguments()),
    ),
    "extend": Scene(
        start=extend_scenes.grown,
        before=extend_scenes.grown,
        asked=extend_scenes.asked(),
    ),
    "extend, and grow the pool's volume": Scene(
        start=extend_scenes.small,
        before=extend_scenes.small,
        asked=extend_scenes.asked(grow=True),
    ),
    "extend what a guest that is off has": Scene(
        start=lambda: extend_scenes.grown(VmState.STOPPED),
        before=lambda: extend_scenes.grown(VmState.STOPPED),
        asked=extend_scenes.asked(),
    ),
    "extend what another guest of the host has": Scene(
        start=extend_scenes.grown_beside_another_guest,
        before=extend_scenes.grown_beside_another_guest,
        asked=extend_scenes.asked(),
    ),
    "extend what is opened with a password": Scene(
        start=extend_scenes.grown_behind_a_password,
        before=extend_scenes.grown_behind_a_password,
        asked=extend_scenes.asked(),
    ),
    "swap": Scene(
        start=swap_scenes.attached,
        before=swap_scenes.attached,
        asked=swap_scenes.asked(),
    ),
    "swap to a volume of the caller's attachment": Scene(
        start=swap_scenes.given,
        before=swap_scenes.attached,
        asked=swap_scenes.asked(new_attachment_id=swap_scenes.GIVEN),
    ),
    "swap what is opened with a password and a passphrase": Scene(
        start=swap_scenes.guarded,
        before=swap_scenes.guarded,
        asked=swap_scenes.asked(),
    ),
    "change what is said of a block device": Scene(
        start=attached,
        before=attached,
        asked=operation("update_block_device", **scenes.attach_arguments(), tag="data"),
    ),
    "attach an interface": Scene(
        start=scenes.world,
        before=scenes.world,
        asked=peripheral_scenes.attach_asked(),
    ),
    "attach an interface to a stopped guest": Scene(
        start=lambda: scenes.world(VmState.STOPPED),
        before=lambda: scenes.world(VmState.STOPPED),
        asked=peripheral_scenes.attach_asked(),
    ),
    "attach an interface beside one with its MAC": Scene(
        start=peripheral_scenes.twin,
        before=peripheral_scenes.twin,
        asked=peripheral_scenes.attach_asked(port=peripheral_scenes.OTHER_PORT),
    ),
    "attach a device of the host": Scene(
        start=scenes.world,
        before=scenes.world,
        asked=peripheral_scenes.give_asked(),
    ),
    "detach an interface": Scene(
        start=peripheral_scenes.attached,
        before=peripheral_scenes.attached,
        asked=peripheral_scenes.detach_asked(),
    ),
    "detach one of two interfaces with one MAC": Scene(
        start=peripheral_scenes.twins,
        before=peripheral_scenes.twins,
        asked=peripheral_scenes.detach_asked(),
    ),
    "detach an interface that bears no alias of ours": Scene(
        start=peripheral_scenes.of_other_hands,
        before=peripheral_scenes.of_other_hands,
        asked=peripheral_scenes.detach_asked(),
    ),
    "detach a device of the host": Scene(
        start=peripheral_scenes.given,
        before=peripheral_scenes.given,
        asked=peripheral_scenes.take_asked(),
    ),
    "create a pool volume": Scene(
        start=World,
        before=World,
        asked=operation("create_volume", volume_id=VOLUME, size=1 << 20),
    ),
    "delete a pool volume": Scene(
        start=scenes.world,
        before=scenes.world,
        asked=operation("delete_volume", volume_id=VOLUME),
    ),
    "grow a pool volume": Scene(
        start=scenes.world,
        before=scenes.world,
        asked=operation("grow_volume", volume_id=VOLUME, size=64 << 30),
    ),
    "release a reservation that lapsed": Scene(
        start=reserved_and_forgotten,
        before=reserved_and_forgotten,
        asked=operation("release_lapsed_reservation", **scenes.attach_arguments()),
    ),
    "release a reservation that lapsed, with its attachment": Scene(
        start=reserved_with_an_attachment_and_forgotten,
        before=reserved_with_an_attachment_and_forgotten,
        asked=operation("release_lapsed_reservation", **scenes.attach_arguments()),
    ),
    "heal a ghost": Scene(
        start=detached_but_kept_by_qemu,
        before=detached_but_kept_by_qemu,
        asked=operation("heal_ghost", instance_uuid=INSTANCE, alias=f"ua-{VOLUME}"),
    ),
    "put back what was lost": Scene(
        start=drifts.all_missing,
        before=drifts.all_missing,
        asked=operation("repair_drift", instance_uuid=INSTANCE),
    ),
    "put a disk back into a running guest": Scene(
        start=drifts.live_missing,
        before=drifts.live_missing,
        asked=operation("repair_drift", instance_uuid=INSTANCE),
    ),
    "clear away what a removed row left": Scene(
        start=drifts.detached_in_our_rows_only,
        before=drifts.detached_in_our_rows_only,
        asked=operation("repair_drift", instance_uuid=INSTANCE, qemu=True),
    ),
    "clear away what a volume left on its host": Scene(
        start=residues.everything,
        before=residues.everything,
        asked=operation("repair_drift", instance_uuid=INSTANCE),
    ),
    "give devices their aliases": Scene(
        start=alias_scenes.nameless,
        before=alias_scenes.nameless,
        asked=operation("migrate_aliases", instance_uuid=INSTANCE),
        without=alias_scenes.without,
        plain=alias_scenes.bare,
    ),
    "give devices that have no rows their aliases": Scene(
        start=alias_scenes.rowless,
        before=alias_scenes.rowless,
        asked=operation("migrate_aliases", instance_uuid=INSTANCE),
        without=alias_scenes.without,
        plain=alias_scenes.bare,
    ),
    "start on a host that was booted": Scene(
        start=power_scenes.host_booted,
        before=power_scenes.host_booted,
        asked=operation("start_instance", instance_uuid=INSTANCE),
        without=power_scenes.without,
        plain=power_scenes.restored,
    ),
    "start without a volume": Scene(
        start=power_scenes.booted_without_the_volume,
        before=power_scenes.booted_without_the_volume,
        asked=operation("start_instance", instance_uuid=INSTANCE),
        without=power_scenes.without,
        plain=power_scenes.restored,
    ),
    "start with a volume that is back": Scene(
        start=power_scenes.missing,
        before=power_scenes.off,
        asked=operation("start_instance", instance_uuid=INSTANCE),
        without=power_scenes.without,
        plain=power_scenes.restored,
    ),
    "stop": Scene(
        start=power_scenes.on,
        before=power_scenes.on,
        asked=operation("stop_instance", instance_uuid=INSTANCE),
    ),
    "stop a guest that is deaf": Scene(
        start=power_scenes.deaf,
        before=power_scenes.deaf,
        asked=operation("stop_instance", instance_uuid=INSTANCE),
    ),
    "reboot": Scene(
        start=power_scenes.on,
        before=power_scenes.on,
        asked=operation("reboot_instance", instance_uuid=INSTANCE),
        without=power_scenes.without,
    ),
    "reboot a guest that is deaf": Scene(
        start=power_scenes.deaf_without_volumes,
        before=power_scenes.deaf_without_volumes,
        asked=operation("reboot_instance", instance_uuid=INSTANCE),
    ),
    "reboot hard": Scene(
        start=power_scenes.deaf_without_volumes,
        before=power_scenes.deaf_without_volumes,
        asked=operation("reboot_instance", instance_uuid=INSTANCE, hard=True),
    ),
    "bring back a guest that ran": Scene(
        start=power_scenes.ran_before_the_boot,
        before=power_scenes.ran_before_the_boot,
        asked=operation("resume_instance", instance_uuid=INSTANCE),
    ),
    "give a volume back": Scene(
        start=power_scenes.missing,
        before=power_scenes.missing,
        asked=RETURN,
    ),
    "give a volume back to a running guest": Scene(
        start=power_scenes.missing_while_it_runs,
        before=power_scenes.missing_while_it_runs,
        asked=RETURN,
    ),
    "detach a volume that is missing": Scene(
        start=power_scenes.missing_while_it_runs,
        before=power_scenes.missing_while_it_runs,
        asked=operation(
            "detach_volume",
            instance_uuid=INSTANCE,
            volume_id=power_scenes.DATA_VOLUME,
            bdm_uuid=power_scenes.DATA,
        ),
    ),
    "build": Scene(
        start=build_scenes.empty,
        before=build_scenes.empty,
        asked=operation("build_instance", **build_scenes.arguments()),
    ),
    "build an instance that boots from a volume": Scene(
        start=build_scenes.empty,
        before=build_scenes.empty,
        asked=operation("build_instance", **build_scenes.from_volume()),
    ),
    "destroy": Scene(
        start=build_scenes.built,
        before=build_scenes.built,
        asked=operation("destroy_instance", instance_uuid=INSTANCE),
    ),
    "destroy an instance that boots from a volume": Scene(
        start=build_scenes.built_from_volume,
        before=build_scenes.built_from_volume,
        asked=operation("destroy_instance", instance_uuid=INSTANCE),
    ),
    "destroy an instance that is off": Scene(
        start=build_scenes.built_and_shut_off,
        before=build_scenes.built_and_shut_off,
        asked=operation("destroy_instance", instance_uuid=INSTANCE),
    ),
    "destroy what was built half": Scene(
        start=build_scenes.half_built,
        before=build_scenes.half_built,
        asked=operation("destroy_instance", instance_uuid=INSTANCE),
    ),
    "destroy an adopted instance": Scene(
        start=attached,
        before=attached,
        asked=operation("destroy_instance", instance_uuid=INSTANCE),
    ),
    "mark the disks of an adopted guest": Scene(
        start=adopt_scenes.adopting,
        before=adopt_scenes.guest_of_others,
        asked=adopt_scenes.marking(),
    ),
    "mark the disks of an adopted guest that runs": Scene(
        start=lambda: adopt_scenes.adopting(VmState.ACTIVE),
        before=lambda: adopt_scenes.guest_of_others(VmState.ACTIVE),
        asked=adopt_scenes.marking(),
    ),
    "forget an adopted guest": Scene(
        start=adopt_scenes.adopted,
        before=adopt_scenes.adopted,
        asked=operation("forget_instance", instance_uuid=INSTANCE),
    ),
    "release an instance": Scene(
        start=adopt_scenes.adopted,
        before=adopt_scenes.adopted,
        asked=operation("release_instance", instance_uuid=INSTANCE),
    ),
    "import an instance": Scene(
        start=lambda: adopt_scenes.to_import()[0],
        before=lambda: adopt_scenes.to_import()[0],
        asked=adopt_scenes.import_asked(),
    ),
    "release an instance that was built": Scene(
        start=move_scenes.small,
        before=move_scenes.small,
        asked=operation("release_instance", instance_uuid=INSTANCE),
    ),
    "import an instance that was built": Scene(
        start=move_scenes.small_to_import,
        before=move_scenes.small_to_import,
        asked=move_scenes.import_asked(),
    ),
    "rescue": Scene(
        start=rescue_scenes.on,
        before=rescue_scenes.on,
        asked=rescue_scenes.asked(),
    ),
    "rescue with its power cut": Scene(
        start=rescue_scenes.on,
        before=rescue_scenes.on,
        asked=rescue_scenes.asked(rescue_scenes.CDROM_IMAGE, clean_shutdown=False),
    ),
    "rescue an instance that is off": Scene(
        start=rescue_scenes.off,
        before=rescue_scenes.off,
        asked=rescue_scenes.asked(),
    ),
    "rescue one that boots from a volume": Scene(
        start=rescue_scenes.boots_from_volume,
        before=rescue_scenes.boots_from_volume,
        asked=rescue_scenes.asked(rescue_scenes.KERNEL_IMAGE),
    ),
    "rescue one that boots from a volume, on a host that was booted": Scene(
        start=rescue_scenes.off_on_a_booted_host,
        before=rescue_scenes.off_on_a_booted_host,
        asked=rescue_scenes.asked(),
        plain=rescue_scenes.restored,
    ),
    "rescue as it was before there were image properties": Scene(
        start=rescue_scenes.boots_from_volume,
        before=rescue_scenes.boots_from_volume,
        asked=rescue_scenes.asked(rescue_scenes.PLAIN_IMAGE),
    ),
    "rescue with a password": Scene(
        start=rescue_scenes.built,
        before=rescue_scenes.built,
        asked=rescue_scenes.asked(password=rescue_scenes.PASSWORD),
    ),
    "unrescue": Scene(
        start=rescue_scenes.rescued,
        before=rescue_scenes.rescued,
        asked=rescue_scenes.back(),
    ),
    "unrescue with its power cut": Scene(
        start=rescue_scenes.rescued,
        before=rescue_scenes.rescued,
        asked=rescue_scenes.back(clean_shutdown=False),
    ),
    "unrescue an instance that was off": Scene(
        start=rescue_scenes.rescued_while_off,
        before=rescue_scenes.rescued_while_off,
        asked=rescue_scenes.back(),
    ),
    "unrescue one that boots from a volume": Scene(
        start=rescue_scenes.rescued_from_volume,
        before=rescue_scenes.rescued_from_volume,
        asked=rescue_scenes.back(),
    ),
    "unrescue on a host that was booted in rescue": Scene(
        start=rescue_scenes.rescued_before_the_boot,
        before=rescue_scenes.rescued_before_the_boot,
        asked=rescue_scenes.back(),
        plain=rescue_scenes.restored,
    ),
    "unrescue one that had a password": Scene(
        start=rescue_scenes.rescued_with_a_password,
        before=rescue_scenes.rescued_with_a_password,
        asked=rescue_scenes.back(),
        without=rescue_scenes.without,
    ),
    "unrescue one whose rescue guest went off": Scene(
        start=rescue_scenes.rescued_and_off,
        before=rescue_scenes.rescued_and_off,
        asked=rescue_scenes.back(),
    ),
    "unrescue one that other hands have started": Scene(
        start=rescue_scenes.started_by_others,
        before=rescue_scenes.started_by_others,
        asked=rescue_scenes.back(),
    ),
    "bring back a guest that was in rescue": Scene(
        start=rescue_scenes.rescued_before_the_boot,
        before=rescue_scenes.rescued_before_the_boot,
        asked=operation("resume_instance", instance_uuid=INSTANCE),
        plain=rescue_scenes.restored,
    ),
    "destroy an instance in rescue": Scene(
        start=rescue_scenes.rescued_with_a_password,
        before=rescue_scenes.rescued_with_a_password,
        asked=operation("destroy_instance", instance_uuid=INSTANCE),
    ),
    "read what a guest is doing": Scene(
        start=paused_by_other_hands,
        before=paused_by_other_hands,
        asked=operation("sync_power_state", instance_uuid=INSTANCE),
    ),
}


def without_ids(world: World) -> World:
    """Return a copy in which attachments drawn at random compare equal, and so do times."""
    plain = world.copy()
    for found in list(plain.instances.values()):
        if found.rescue is not None:
            untimed = replace(found.rescue, since=None)
            plain.instances[found.uuid] = replace(found, rescue=untimed)
    plain.attachments = {
        AttachmentId(f"of {held.volume} on {held.instance}"): replace(held, id=AttachmentId("x"))
        for held in plain.attachments.values()
    }
    for uuid, row in plain.rows.items():
        plain.rows[uuid] = replace(row, attachment=AttachmentId("x") if row.attachment else None)
    return plain


def calls(scene: Scene, kind: Kind) -> int:
    """Return how many outside calls the operation makes when all goes well."""
    trouble = Trouble()
    world = scene.start()
    ended = run(world, scene.asked, trouble, kind=kind)
    assert ended.state is OperationState.SUCCEEDED, ended.fault
    return trouble.count


def after(scene: Scene, kind: Kind) -> World:
    world = scene.start()
    run(world, scene.asked, kind=kind)
    return world


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The worlds that an operation may leave, made once for all the places at which it fails."""

    scene: Scene
    kind: Kind
    done: World
    undone: World


def ends_of(scene: Scene, kind: Kind) -> Ends:
    undone = scene.plain(scene.before())
    return Ends(scene=scene, kind=kind, done=after(scene, kind), undone=undone)


def check(ends: Ends, world: World, ended: Operation) -> None:
    """The promise: one end, and a world that agrees with it."""
    scene, kind = ends.scene, ends.kind
    assert not world.pending
    assert not world.harm
    assert all(guest.asked <= 1 for guest in world.guests.values())
    check_asked(world, ended)
    if ended.state is OperationState.SUCCEEDED:
        check_one_of(world, ends.done, scene)
    else:
        assert ended.state is OperationState.FAILED, ended
        check_one_of(scene.plain(world), ends.undone, scene)
    if kind.phases is not None:
        check_told(world, ended, kind)


BOOTS = {
    "rescue_instance": {"power.start"},
    "unrescue_instance": {"power.start", "rescues.start"},
}
"""The starts after which somebody may be at work in the guest."""


def check_asked(world: World, ended: Operation) -> None:
    """A guest that may be booting since an earlier run is not cut before it was asked off."""
    if ended.method not in BOOTS or not ended.arguments.get("clean_shutdown", True):
        return
    boots = False
    for step in world.steps.get(ended.id, ()):
        assert not (boots and step.name == "power.cut"), ended
        if step.name in ("power.start", "rescues.start", "power.ask_off"):
            died = step.fault in (None, WORKER_DIED)
            boots = step.name in BOOTS[ended.method] and died


def check_one_of(world: World, wanted: World, scene: Scene) -> None:
    """It is as wanted, or, said in the row, without the volume.

    A host that could not let go of that one has a record of it, for later.
    """
    found, as_wanted = without_ids(world), without_ids(wanted)
    if scene.without is None or found == as_wanted:
        assert found == as_wanted
        return
    lacking = scene.without(found)
    assert (found.rows, found.guests) == (lacking.rows, lacking.guests)
    assert lacking == scene.without(as_wanted)


def check_told(world: World, ended: Operation, kind: Kind) -> None:
    assert kind.phases is not None
    phases = (kind.phases.start, kind.phases.end, kind.phases.error)
    told = [update.event for update in world.told if update.operation == ended.id]
    told = [event for event in told if event in phases]
    end = kind.phases.end if ended.state is OperationState.SUCCEEDED else kind.phases.error
    assert told == [kind.phases.start, end]


def fails_everywhere(scene: Scene, kind: Kind) -> None:
    ends = ends_of(scene, kind)
    for at in range(calls(scene, kind)):
        for late in (False, True):
            world = scene.start()
            ended = run(world, scene.asked, Trouble(at=at, after=late), kind=kind)
            check(ends, world, ended)


def crashes_everywhere(scene: Scene, kind: Kind) -> None:
    ends = ends_of(scene, kind)
    for at in range(calls(scene, kind)):
        for late in (False, True):
            world = scene.start()
            trouble = Trouble(at=at, after=late, error=Crash)
            crash_at(world, scene.asked, trouble, kind)
            steps = world.steps[scene.asked.id]
            open_steps = [step.name for step in steps if step.outcome is StepOutcome.OPEN]
            ended = run(world, scene.asked, kind=kind)
            assert ended.attempts == len(open_steps)
            assert open_steps or trouble.happened in LOOKS
            check(ends, world, ended)


def crashes_on_the_way_back(scene: Scene, kind: Kind) -> None:
    """An error at one call, and a crash in each call of the way back from it."""
    ends = ends_of(scene, kind)
    for at in range(calls(scene, kind)):
        for crash in range(at + 1, at + 8):
            for late in (False, True):
                world = scene.start()
                error = Trouble(at=at)
                killed = Trouble(at=crash, after=late, error=Crash)
                crash_at(world, scene.asked, error, kind, killed)
                ended = run(world, scene.asked, kind=kind)
                check(ends, world, ended)


def fails_while_nothing_can_be_seen(scene: Scene, kind: Kind) -> None:
    """An error at one call while the hypervisor cannot say what became of it, or not any more."""
    ends = ends_of(scene, kind)
    for at in range(calls(scene, kind)):
        for late in (False, True):
            for spared in (0, 1):
                world = scene.start()
                blind = Refusing("guests.describe", spared=spared)
                ended = run(world, scene.asked, Trouble(at=at, after=late), blind, kind=kind)
                check_seen_or_stuck(ends, world, ended)


def check_seen_or_stuck(ends: Ends, world: World, ended: Operation) -> None:
    if ended.state is OperationState.STUCK:
        assert not world.harm
        half = DeviceStatus.DETACHING if ended.past_commit_point else DeviceStatus.ERROR
        row = row_of(ends.scene.asked, fakes.ports(world))
        assert row is not None
        assert row.status is half
        says = ended.fault is not None and "not taken back" in ended.fault.message
        left = isinstance(row, Peripheral) or world.connected or world.attachments
        # What it names may have gone in the call that failed: only another look would tell.
        assert left or says
    else:
        check(ends, world, ended)


def fails_in_the_second_run(scene: Scene, kind: Kind) -> None:
    """A crash at one call, and an error at each call of the run that follows it."""
    ends = ends_of(scene, kind)
    for at, late in product(range(calls(scene, kind)), (False, True)):
        killed = scene.start()
        crash = Trouble(at=at, after=late, error=Crash)
        crash_at(killed, scene.asked, crash, kind)
        for again, late_again in product(range(calls_left(killed, scene, kind)), (False, True)):
            world = killed.copy()
            error = Trouble(at=again, after=late_again)
            ended = run(world, scene.asked, error, kind=kind)
            with naming(f"killed {crash}, then an error {error}"):
                check(ends, world, ended)


def calls_left(killed: World, scene: Scene, kind: Kind) -> int:
    """Return how many outside calls it takes to finish what was cut off."""
    trouble = Trouble()
    run(killed.copy(), scene.asked, trouble, kind=kind)
    return trouble.count


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Say of a promise that is broken where it was."""
    try:
        yield
    except AssertionError as error:
        error.add_note(place)
        raise


def crash_at(world: World, asked: Operation, trouble: Trouble, kind: Kind, *more: Trouble) -> None:
    """Run until the crash, if it comes; what was not durable is lost."""
    try:
        run(world, asked, *more, trouble, kind=kind)
    except Crash:
        world.crash()


@pytest.mark.parametrize("name", SCENES)
def test_an_error_at_any_call_leaves_the_world_as_before_or_after(name: str) -> None:
    fails_everywhere(SCENES[name], OPERATIONS[SCENES[name].asked.method])


@pytest.mark.parametrize("name", SCENES)
def test_a_crash_at_any_call_is_recovered_from(name: str) -> None:
    crashes_everywhere(SCENES[name], OPERATIONS[SCENES[name].asked.method])


@pytest.mark.parametrize("name", SCENES)
def test_a_crash_on_the_way_back_is_recovered_from(name: str) -> None:
    crashes_on_the_way_back(SCENES[name], OPERATIONS[SCENES[name].asked.method])


@pytest.mark.parametrize("name", SCENES)
def test_an_error_in_the_run_after_a_crash_leaves_the_world_as_before_or_after(name: str) -> None:
    fails_in_the_second_run(SCENES[name], OPERATIONS[SCENES[name].asked.method])


@pytest.mark.parametrize("name", [name for name in SCENES if name.startswith(("attach", "detach"))])
def test_an_error_whose_effect_cannot_be_seen_is_never_called_a_failure(name: str) -> None:
    fails_while_nothing_can_be_seen(SCENES[name], OPERATIONS[SCENES[name].asked.method])


def test_every_operation_of_the_table_has_a_scene() -> None:
    assert {scene.asked.method for scene in SCENES.values()} == set(OPERATIONS)


def test_what_cannot_be_taken_back_is_stuck_and_named_and_stays_connected() -> None:
    """The guest keeps the disk, so nothing under it is taken away."""
    world = reserved()
    trouble = Trouble(at=calls(SCENES["attach"], OPERATIONS["attach_volume"]) - 1)
    ended = run(world, SCENES["attach"].asked, trouble, Refusing("disks.unplug"))
    assert ended.state is OperationState.STUCK
    assert ended.fault is not None
    assert "disks.unplug" in ended.fault.message
    assert world.rows[DEVICE].status is DeviceStatus.ERROR
    assert world.connected == {VOLUME}
    assert len(world.attachments) == 1
    assert world.events()[-1] == "operation.stuck"
    assert fakes.ports(world).connections.get(DEVICE) is not None
