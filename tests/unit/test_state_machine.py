"""Any order of requests, deaths and troubles: one end each, and views that agree.

``BLOCKWORKER_EXAMPLES=5000`` looks further, at random.
"""

import itertools
import logging
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests import fakes
from tests.fakes.world import FakeGuest, World
from tests.unit import promises, rescue_scenes
from tests.unit.fake_worker import FakeWorker, Mishap, Plan
from tests.unit.scenes import Crash, away
from tests.unit.traffic import Traffic, row_id
from worker.errors import GuestBusy, VolumeInUse
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import BlockDeviceId, InstanceId, OperationId, VolumeId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.places.address import PciAddress
from worker.model.source import BlockSource, DiskOptions
from worker.model.volume import GIB, Volume, VolumeStatus

EXAMPLES = int(os.environ.get("BLOCKWORKER_EXAMPLES", "0"))
INSTANCES = tuple(InstanceId(f"6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e00{n}") for n in (1, 2))
VOLUMES = tuple(VolumeId(f"2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e000{n}") for n in (1, 2, 3))
SHARED = VOLUMES[2]
GUEST_BUSY = GuestBusy.code

OTHER_HANDS = ("stop", "reserve", "release", "deliver", "other lane")
AWAY = (
    ("guests", "disks"),
    ("disks",),
    ("volumes", "attachments"),
    ("attachments",),
    ("connector",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is drawn to happen at one outside call; ``which`` chooses among like things."""

    what: str
    at: int
    late: bool
    which: int


def several(*whats: str, calls: tuple[int, int] = (0, 12)) -> st.SearchStrategy[list[Trouble]]:
    """Draw up to three troubles out of these, at one of these calls."""
    trouble = st.builds(
        Trouble,
        what=st.sampled_from(whats),
        at=st.integers(*calls),
        late=st.booleans(),
        which=st.integers(0, 7),
    )
    counts = st.sampled_from([0, 1, 1, 2, 3])
    return counts.flatmap(lambda count: st.lists(trouble, min_size=count, max_size=count))


troubles = several("die", "fail", "away", *OTHER_HANDS)
mostly_deaths = several(*["die"] * 6, "fail", "fail", "away", *OTHER_HANDS)
mostly_errors = several(*["fail"] * 4, "away", "die", *OTHER_HANDS)
at_its_guest = several("fail", "fail", "away", "die", *OTHER_HANDS, calls=(9, 14))
instances = st.sampled_from(INSTANCES)
volumes = st.sampled_from(VOLUMES)
some = st.integers(0, 30)
seldom = st.sampled_from([False] * 5 + [True])


def holds(broken: list[str]) -> None:
    assert broken == [], "; ".join(broken)


class Days(RuleBasedStateMachine):
    """The days of a worker with two guests and three volumes, the last of them shared."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        for number, instance in enumerate(INSTANCES):
            self.world.guests[instance] = FakeGuest(name=f"guest-{number}")
        for volume in VOLUMES:
            self.world.volumes[volume] = Volume(
                id=volume, size=GIB, status=VolumeStatus.AVAILABLE, multiattach=volume == SHARED
            )
        # One takes its time to go off.
        self.world.guests[INSTANCES[1]].slow = True
        rescue_scenes.with_images(self.world)
        self.worker = FakeWorker(self.world, self.guard)
        self.traffic = Traffic(self.world, self.worker)
        self.broken: list[str] = []
        self.planted: list[tuple[InstanceId, Disk]] = []
        self.callers: set[str] = set()
        self.excused: set[VolumeId] = set()
        self.identities: dict[BlockDeviceId, tuple[object, ...]] = {}
        self.ended: dict[OperationId, Operation] = {}
        self.times_stuck: Counter[OperationId] = Counter()

    @initialize(both=st.booleans())
    def begin(self, *, both: bool) -> None:
        for instance in INSTANCES[: 1 + both]:
            self.worker.call("adopt_instance", domain=instance)
        for instance in INSTANCES:
            self.plant(instance, "ua-somebody-elses")

    def guard(self) -> None:
        self.broken += promises.ground_pulled(self.world)
        self.broken += promises.twice_live(self.world)

    # Requests.

    @rule(
        instance=instances,
        volume=volumes,
        number=st.integers(0, 5),
        bus=st.sampled_from([None, "virtio", "scsi"]),
        name=st.sampled_from([None, None, "/dev/vdc", "/dev/sdb"]),
        drawn=troubles,
    )
    def reserve(
        self,
        *,
        instance: InstanceId,
        volume: VolumeId,
        number: int,
        bus: str | None,
        name: str | None,
        drawn: list[Trouble],
    ) -> None:
        plan = self.plan(drawn)
        with self.mortal():
            self.traffic.reserve(instance, volume, row_id(number), plan, disk_bus=bus, device=name)

    @rule(
        instance=instances, volume=volumes, planted=seldom, drawn=mostly_deaths, again=mostly_errors
    )
    def attach(
        self,
        *,
        instance: InstanceId,
        volume: VolumeId,
        planted: bool,
        drawn: list[Trouble],
        again: list[Trouble],
    ) -> None:
        uuid = row_id(100 + len(self.traffic.messages))
        self.traffic.reserve(instance, volume, uuid)
        if planted and uuid in self.world.rows and self.at_rest(instance):
            self.plant(instance, self.world.rows[uuid].alias)
        if uuid in self.world.rows:
            self.ask("attach_volume", instance_uuid=instance, bdm_uuid=uuid)
            self.do_twice(instance, drawn, again)

    @precondition(lambda self: self.world.rows)
    @rule(n=some, busy=seldom, drawn=mostly_deaths, again=mostly_errors)
    def detach(self, *, n: int, busy: bool, drawn: list[Trouble], again: list[Trouble]) -> None:
        row = self.traffic.rows[n % len(self.world.rows)]
        self.world.guests[row.instance].busy |= busy
        self.ask("detach_volume", instance_uuid=row.instance, volume_id=row.volume)
        self.do_twice(row.instance, drawn, again)

    @precondition(lambda self: self.world.rows)
    @rule(
        n=some,
        more=st.integers(0, 2),
        early=seldom,
        drawn=mostly_deaths,
        again=mostly_errors,
    )
    def extend(
        self, *, n: int, more: int, early: bool, drawn: list[Trouble], again: list[Trouble]
    ) -> None:
        """The service extends the volume, or does not yet; then the guest is to see it."""
        row = self.traffic.rows[n % len(self.world.rows)]
        volume = self.world.volumes[row.its_volume]
        size = volume.size + more * GIB
        if not early:
            self.world.volumes[volume.id] = replace(volume, size=size)
        self.ask("extend_volume", instance_uuid=row.instance, bdm_uuid=row.uuid, new_size=size)
        self.do_twice(row.instance, drawn, again)

    @rule(
        instance=instances,
        image=st.sampled_from([rescue_scenes.USB_IMAGE, rescue_scenes.PLAIN_IMAGE]),
        clean=st.booleans(),
        odd=seldom,
        late=at_its_guest,
        drawn=mostly_errors,
    )
    def rescue(
        self,
        *,
        instance: InstanceId,
        image: str,
        clean: bool,
        odd: bool,
        late: list[Trouble],
        drawn: list[Trouble],
    ) -> None:
        """There, or back; reservations would have it refused."""
        found = self.world.instances.get(instance)
        for row in [*self.world.rows.values()]:
            if row.instance == instance and row.status is DeviceStatus.RESERVED:
                self.traffic.release(row.uuid)
        if (found is not None and found.vm_state is VmState.RESCUED) is not odd:
            self.ask("unrescue_instance", instance_uuid=instance, clean_shutdown=clean)
            late, drawn = drawn, late
        else:
            self.ask(
                "rescue_instance",
                instance_uuid=instance,
                rescue_image_ref=image,
                clean_shutdown=clean,
            )
        self.do_twice(instance, late, drawn)
        self.bring_back(instance)

    def bring_back(self, instance: InstanceId) -> None:
        """What was away when the guest was started is there again by now."""
        for row in [*self.world.rows.values()]:
            if row.instance == instance and row.status is DeviceStatus.MISSING:
                place = {"instance_uuid": instance, "bdm_uuid": row.uuid}
                self.worker.dispatcher.submit_own("return_volume", **place)

    @precondition(lambda self: self.traffic.known)
    @rule(
        n=some,
        method=st.sampled_from(["attach_volume", "detach_volume"]),
        attachment=st.integers(0, 8),
        expires_in=st.sampled_from([None, None, -1, 1, 10, 60, 10_000]),
        odd=seldom,
        sent=st.booleans(),
    )
    def ask_oddly(
        self, *, n: int, method: str, attachment: int, expires_in: int | None, odd: bool, sent: bool
    ) -> None:
        row = self.traffic.rows[n % len(self.traffic.rows)]
        at = None if expires_in is None else self.world.now + timedelta(milliseconds=expires_in)
        more = {} if at is None else {"expires_at": at.isoformat()}
        more |= {"volume_id": row.its_volume} if method == "detach_volume" else {}
        held = [None, None, self.fitting(row), *self.world.attachments]
        self.ask(
            method,
            sent=sent,
            instance_uuid=INSTANCES[row.instance == INSTANCES[0]] if odd else row.instance,
            bdm_uuid=row.uuid,
            attachment_id=held[min(attachment, len(held) - 1)],
            **more,
        )

    def fitting(self, row: BlockDevice) -> str | None:
        found = fakes.ports(self.world).attachments.find(row.its_volume, row.instance)
        return None if found is None else found.id

    def ask(self, method: str, *, sent: bool = True, **arguments: str | bool | int | None) -> None:
        message = self.traffic.send(method, **arguments)
        if sent:
            self.traffic.deliver(message)

    @precondition(lambda self: self.traffic.messages)
    @rule(n=some, what=st.sampled_from(["same", "same", "method", "bdm_uuid", "attachment_id"]))
    def deliver(self, n: int, what: str) -> None:
        message = self.traffic.messages[n % len(self.traffic.messages)]
        self.traffic.deliver(message if what == "same" else self.traffic.altered(message, what))

    @precondition(lambda self: self.traffic.known)
    @rule(n=some, lapsed=st.booleans())
    def release(self, *, n: int, lapsed: bool) -> None:
        row = self.traffic.rows[n % len(self.traffic.rows)]
        if lapsed:
            self.worker.dispatcher.submit_own(
                "release_lapsed_reservation", instance_uuid=row.instance, bdm_uuid=row.uuid
            )
        else:
            self.traffic.release(row.uuid)

    @rule(instance=instances, volume=volumes, what=st.sampled_from(["hold", "plant"]))
    def others(self, instance: InstanceId, volume: VolumeId, what: str) -> None:
        if what == "hold":
            self.hold(instance, volume)
        elif self.at_rest(instance):
            self.plant(instance, f"ua-{volume}")

    def hold(self, instance: InstanceId, volume: VolumeId) -> None:
        with suppress(VolumeInUse):
            made = fakes.ports(self.world).attachments.create(volume, instance)
            if made.connection is None:
                self.callers.add(made.id)

    # The worker at work.

    @precondition(lambda self: self.worker.lanes)
    @rule(n=some, drawn=troubles, everything=st.booleans())
    def work(self, *, n: int, drawn: list[Trouble], everything: bool) -> None:
        self.do(self.worker.lanes[n % len(self.worker.lanes)], self.plan(drawn))
        if everything:
            self.work_all()

    def work_all(self) -> None:
        while self.worker.lanes:
            self.do(self.worker.lanes[0])

    @rule()
    def crash(self) -> None:
        self.worker.die()

    def do_twice(self, lane: str, drawn: list[Trouble], again: list[Trouble]) -> None:
        """Do what comes next; what a death cut off has its second run at once."""
        self.do(lane, self.plan(drawn))
        states = [one.state for one in self.world.operations.values() if one.lane == lane]
        if OperationState.RUNNING in states and lane in self.worker.lanes:
            self.do(lane, self.plan(again))

    def do(self, lane: str, plan: Plan | None = None) -> None:
        plan, before = plan or Plan(), self.world.copy()
        with self.mortal():
            self.worker.work(lane, plan)
        for operation in self.world.operations.values():
            earlier = before.operations.get(operation.id)
            was = None if earlier is None else earlier.state
            if operation.state is OperationState.STUCK and was is not OperationState.STUCK:
                self.times_stuck[operation.id] += 1
            if operation.state.ended and was is OperationState.QUEUED and not plan.interleaved:
                self.broken += promises.overdone(operation, before, self.world)
                self.broken += [] if plan.mishaps else promises.underdone(operation, before)

    @contextmanager
    def mortal(self) -> Iterator[None]:
        try:
            yield
        except Crash:
            self.worker.die()

    # Troubles.

    def plan(self, drawn: list[Trouble]) -> Plan:
        return Plan([self.mishap(one) for one in drawn])

    def mishap(self, one: Trouble) -> Mishap:
        def happen(name: str) -> None:
            if one.what == "die":
                raise Crash(name)
            if one.what == "fail" or self.is_away(one, name):
                raise away(name)
            self.other_hands(one)

        return Mishap(
            at=one.at,
            late=one.late,
            lasting=one.what == "away",
            others=one.what in OTHER_HANDS,
            happen=happen,
        )

    def is_away(self, one: Trouble, name: str) -> bool:
        return one.what == "away" and name.partition(".")[0] in AWAY[one.which % len(AWAY)]

    def other_hands(self, one: Trouble) -> None:
        try:
            self.meanwhile(one.what, one.which)
        except AssertionError as error:
            self.broken.append(f"{one}: {error!r}")

    def meanwhile(self, what: str, which: int) -> None:
        match what:
            case "stop":
                self.stop(INSTANCES[which % 2])
            case "reserve":
                self.traffic.reserve(INSTANCES[which % 2], VOLUMES[which % 3], row_id(10 + which))
            case "release" if self.traffic.known:
                self.traffic.release(self.traffic.rows[which % len(self.traffic.rows)].uuid)
            case "deliver" if self.traffic.messages:
                self.traffic.deliver(self.traffic.messages[-1 - which % len(self.traffic.messages)])
            case "other lane" if self.worker.lanes:
                self.worker.work(self.worker.lanes[0])

    # Guests and their other users.

    @rule(instance=instances, what=st.sampled_from(["power", "unseen", "look", "busy", "let go"]))
    def guest(self, instance: InstanceId, what: str) -> None:
        guest = self.world.guests[instance]
        match what:
            case "power" | "unseen":
                self.stop(instance) if guest.running else self.start(instance)
            case "busy":
                guest.busy = not guest.busy
            case "let go" if self.at_rest(instance):
                self.let_go(instance)
        if what in ("power", "look"):
            self.worker.look(instance)

    def stop(self, instance: InstanceId) -> None:
        guest = self.world.guests[instance]
        guest.vm_state, guest.leaving = VmState.STOPPED, False
        guest.live.clear()

    def start(self, instance: InstanceId) -> None:
        guest = self.world.guests[instance]
        guest.vm_state = VmState.ACTIVE
        guest.live.update(guest.persistent)

    def let_go(self, instance: InstanceId) -> None:
        for row in self.world.rows.values():
            last = fakes.ports(self.world).operations.last_for(row.uuid)
            if row.instance == instance and last and last.fault and last.fault.code == GUEST_BUSY:
                self.world.guests[instance].live.pop(row.alias, None)
        self.worker.look(instance)
        self.do(instance)

    def plant(self, instance: InstanceId, alias: str) -> None:
        guest = self.world.guests[instance]
        if alias in guest.persistent:
            return
        number = len(self.planted)
        disk = Disk(
            alias=alias,
            target=f"vdx{number}",
            bus=Bus.VIRTIO,
            device_type=DeviceType.DISK,
            serial=None,
            address=PciAddress(bus=20 + number, slot=0),
            source=BlockSource(path=f"{promises.FOREIGN}{number}"),
            options=DiskOptions(),
        )
        self.planted.append((instance, disk))
        guest.persistent[alias] = disk
        if guest.running:
            guest.live[alias] = disk

    # Operators.

    @property
    def stuck(self) -> list[Operation]:
        stuck = OperationState.STUCK
        return [found for found in self.world.operations.values() if found.state is stuck]

    @precondition(lambda self: self.stuck)
    @rule(n=some, method=st.sampled_from(["retry_operation", "abandon_operation"]))
    def decide(self, n: int, method: str) -> None:
        operation = self.stuck[n % len(self.stuck)]
        row = self.world.rows.get(BlockDeviceId(operation.block_device or ""))
        abandoned = method == "abandon_operation"
        rowless = operation.method in promises.OF_RESCUES or promises.never_began(operation)
        assert not abandoned or row is not None or rowless
        cleared = abandoned and operation.method not in promises.LEAVING_THE_ROW
        if row is not None and cleared:
            self.clear_up(row)
        self.worker.call(method, operation_id=operation.id)
        if row is not None and cleared and row.uuid not in self.world.rows:
            # As a repair of drift does: it holds the host's connection for what comes later.
            self.world.connections.pop(row.uuid, None)

    def clear_up(self, row: BlockDevice) -> None:
        self.excused.add(row.its_volume)
        try:
            self.take_out(row)
        except GuestBusy:
            # It stays, and to the service it is still what a detach has begun with.
            fakes.ports(self.world).volumes.roll_detaching(row.its_volume)

    def take_out(self, row: BlockDevice) -> None:
        ports = fakes.ports(self.world)
        anothers = {(instance, disk.alias) for instance, disk in self.planted}
        if (row.instance, row.alias) not in anothers:
            ports.disks.unplug(row.instance, row.alias)
            ports.disks.forget(row.instance, row.alias)
        kept = ports.connections.get(row.uuid)
        if kept is not None:
            ports.connector.disconnect(kept)
        held = ports.attachments.find(row.its_volume, row.instance)
        if held is not None:
            ports.attachments.delete(held.id)

    # Promises.

    @invariant()
    def nothing_is_broken(self) -> None:
        self.guard()
        holds(self.broken)
        assert self.world.pending == []

    @invariant()
    def each_operation_is_told_once_and_ends_once(self) -> None:
        holds(promises.told_wrongly(self.world, self.times_stuck))
        holds(promises.stuck_unnamed(self.world))
        for operation in self.world.operations.values():
            if operation.state.ended and operation.state is not OperationState.STUCK:
                assert self.ended.setdefault(operation.id, operation) == operation
        asked = {found.id for found in self.world.operations.values() if not found.own}
        assert asked == self.traffic.asked.keys()

    @invariant()
    def what_a_row_is_known_by_never_changes(self) -> None:
        for row in self.traffic.rows:
            known_by = promises.identity(row)
            assert self.identities.setdefault(row.uuid, known_by) == known_by

    @invariant()
    def what_is_not_ours_is_never_touched(self) -> None:
        for instance, disk in self.planted:
            guest = self.world.guests[instance]
            assert guest.persistent[disk.alias] == disk
            less = not guest.running or promises.in_legacy_rescue(self.world, instance)
            assert less or guest.live.get(disk.alias) == disk

    @invariant()
    def at_rest_all_views_agree(self) -> None:
        for instance in filter(self.at_rest, INSTANCES):
            holds(promises.disagreements(self.world, instance, self.callers, self.excused))
        if all(map(self.at_rest, INSTANCES)) and not self.excused:
            holds(promises.volumes_astray(self.world))

    def at_rest(self, instance: InstanceId) -> bool:
        at_work = (OperationState.QUEUED, OperationState.RUNNING, OperationState.STUCK)
        operations = self.world.operations.values()
        under_way = [one for one in operations if one.instance == instance and one.state in at_work]
        return not under_way and instance not in self.worker.lanes

    def teardown(self) -> None:
        for guest in self.world.guests.values():
            guest.busy = False
        self.worker.die()
        self.work_all()
        for operation in self.stuck:
            self.worker.call("retry_operation", operation_id=operation.id)
        self.work_all()
        assert self.stuck == []
        self.unrescue_all()
        assert fakes.ports(self.world).operations.unfinished() == ()
        self.nothing_is_broken()
        self.each_operation_is_told_once_and_ends_once()
        self.at_rest_all_views_agree()
        assert self.world.files == {}
        for found in self.world.instances.values():
            assert found.vm_state is self.world.guests[found.uuid].vm_state

    def unrescue_all(self) -> None:
        for found in list(self.world.instances.values()):
            if found.vm_state is VmState.RESCUED:
                self.ask("unrescue_instance", instance_uuid=found.uuid)
        self.work_all()


@pytest.fixture
def drawn_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that count up: what is drawn again must come to the same."""
    numbers = itertools.count(1)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(numbers)))


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


# It runs 400 days of forty events: on a busy machine, measured, longer than a test may take.
@pytest.mark.timeout(900)
def test_whatever_happens_each_operation_has_one_end_and_all_views_agree(
    quiet: None, drawn_in_order: None
) -> None:
    run_state_machine_as_test(
        Days,
        settings=settings(
            max_examples=EXAMPLES or 400,
            stateful_step_count=40,
            deadline=None,
            derandomize=not EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
