"""Interfaces attached and detached: what is refused, kept, told, taken back; whom it means."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests import fakes
from tests.fakes.database import FakePeripherals
from tests.fakes.peripherals import FakeGuestPeripherals, shown_peripheral
from tests.fakes.world import World
from tests.unit import peripheral_scenes, scenes
from tests.unit.fake_worker import FakeWorker
from tests.unit.peripheral_scenes import (
    EARLIER,
    MAC,
    OTHER_PORT,
    PORT,
    attach_asked,
    detach_asked,
    interfaces,
    row,
    row_of,
)
from tests.unit.scenes import INSTANCE, Refusing, run
from worker.errors import (
    AddressTaken,
    DatabaseUnavailable,
    GuestBusy,
    HypervisorUnavailable,
    WorkerError,
)
from worker.handlers.list_peripherals import ListPeripherals, list_peripherals
from worker.handlers.look_at_guest import look_at_guest
from worker.handlers.parts.plug_peripheral import RACES, plug_in
from worker.model.block_device import DeviceStatus
from worker.model.identity.alias import alias_of
from worker.model.ids import InstanceId, OperationId, PeripheralId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.peripheral import Peripheral
from worker.model.places.controllers import empty_layout
from worker.model.specification import Interface, InterfaceKind, Shape

ALIAS = alias_of(PORT)


def refused(world: World, asked: Operation) -> str:
    """Ask, and return the code with which it was refused; nothing was touched, no row is left."""
    before = world.copy()
    ended = run(world, asked)
    assert ended.fault is not None, ended
    assert world == before
    assert ended.state is OperationState.FAILED
    return ended.fault.code


class TestAttach:
    def test_the_guest_has_it_now_and_after_its_next_start(self) -> None:
        world = peripheral_scenes.attached()

        assert interfaces(world) == ([ALIAS], [ALIAS])
        found = row(world)
        assert found.status is DeviceStatus.ATTACHED
        assert world.guests[INSTANCE].live_peripherals[ALIAS] == shown_peripheral(found)

    def test_it_is_told_with_its_row_and_no_block_device(self) -> None:
        world = peripheral_scenes.attached()

        assert world.events()[-2:] == [
            "instance.interface_attach.start",
            "instance.interface_attach.end",
        ]
        begun, ended = world.told[-2:]
        assert (begun.peripheral, begun.block_device) == (None, None)
        assert ended.block_device is None
        assert ended.peripheral is not None
        assert ended.peripheral.public() == {
            "uuid": row_of(EARLIER),
            "instance_uuid": INSTANCE,
            "kind": "interface",
            "port_id": PORT,
            "mac_address": MAC,
            "network": "user",
            "target": None,
            "model": "virtio",
            "alias": ALIAS,
            "address": str(row(world).address),
            "status": "attached",
        }

    def test_a_mac_that_is_not_given_is_the_ports_and_the_same_each_time(self) -> None:
        world = scenes.world()
        run(world, attach_asked(mac_address=None))
        what = row(world, 1).what
        assert isinstance(what, Interface)
        assert what.mac == "52:54:00:00:00:01"

    def test_to_a_guest_that_is_off_it_comes_with_the_next_start(self) -> None:
        world = scenes.world(VmState.STOPPED)
        assert run(world, attach_asked()).fault is None
        assert interfaces(world) == ([], [ALIAS])
        fakes.ports(world).power.start(INSTANCE)
        assert interfaces(world) == ([ALIAS], [ALIAS])

    def test_two_with_one_mac_have_an_alias_and_a_place_each(self) -> None:
        world = peripheral_scenes.twins()
        assert interfaces(world)[0] == [ALIAS, alias_of(OTHER_PORT)]
        assert row(world).address != row(world, EARLIER + 1).address

    def test_an_alias_that_the_guest_has_already_gives_way_to_the_rows(self) -> None:
        world = scenes.world()
        strange = peripheral_scenes.an_adopted_row(ALIAS, address=None)
        world.guests[INSTANCE].live_peripherals[ALIAS] = shown_peripheral(strange)
        assert run(world, attach_asked()).fault is None
        assert row(world, 1).alias == alias_of(row_of(1))
        assert ALIAS in interfaces(world)[0]

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"network": "direct"}, "network is none of bridge, tap, user"),
            ({"network": "other"}, "network is none of bridge, tap, user"),
            ({"target": "br0"}, "target says nothing of an interface in user mode"),
            ({"network": "bridge"}, "target is no name of a bridge of the host"),
            ({"network": "tap", "target": "a/b"}, "target is no name of a tap of the host"),
            ({"mac_address": "01:00:5e:00:00:01"}, "mac_address is no unicast MAC address"),
            ({"model": "<rom/>"}, "model is no name of a network card"),
        ],
    )
    def test_what_makes_no_interface_is_malformed(self, wrong: dict[str, Any], says: str) -> None:
        world = scenes.world()
        asked = attach_asked(**wrong)
        assert refused(world, asked) == "request.malformed"
        fault = fakes.ports(world).operations.get(asked.id).fault
        assert fault is not None
        assert says in fault.message

    def test_a_bridge_of_the_host_is_its_target(self) -> None:
        world = scenes.world()
        assert run(world, attach_asked(network="bridge", target="br0", model="e1000")).fault is None
        wanted = Interface(
            port=PORT, kind=InterfaceKind.BRIDGE, mac=MAC, target="br0", model="e1000"
        )
        assert row(world, 1).what == wanted

    def test_an_instance_that_is_not_ours_is_refused(self) -> None:
        world = scenes.world()
        elsewhere = InstanceId("6f9a5bd0-5d50-4f3c-9c35-1a7c61d2efff")
        asked = replace(attach_asked(), arguments=attach_asked(instance_uuid=elsewhere).arguments)
        assert refused(world, asked) == "instance.not_found"

    def test_an_instance_that_is_being_built_is_refused(self) -> None:
        world = scenes.world()
        building = replace(world.instances[INSTANCE], vm_state=VmState.BUILDING)
        world.instances[INSTANCE] = building
        assert refused(world, attach_asked()) == "instance.wrong_state"

    @pytest.mark.parametrize("change", [scenes.released, scenes.importing])
    def test_an_instance_on_its_way_between_hosts_is_refused(
        self, change: Callable[[World], None]
    ) -> None:
        world = scenes.world()
        change(world)
        assert refused(world, attach_asked()) == "instance.wrong_state"

    def test_a_port_that_the_instance_has_is_refused(self) -> None:
        assert refused(peripheral_scenes.attached(), attach_asked()) == "peripheral.taken"

    def test_a_guest_without_a_free_place_is_refused(self) -> None:
        world = scenes.world()
        world.guests[INSTANCE].empty = empty_layout(Shape(pcie_ports=2), 0)
        assert refused(world, attach_asked()) == "block_device.no_free_port"

    def test_a_place_that_a_disk_gets_in_the_same_moment_is_chosen_anew(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world, insert = scenes.world(), FakePeripherals.insert

        def late(self: FakePeripherals, peripheral: Peripheral) -> None:
            if scenes.DEVICE not in world.rows:
                scenes.reserve(world)
            insert(self, peripheral)

        monkeypatch.setattr(FakePeripherals, "insert", late)
        assert run(world, attach_asked()).fault is None
        assert row(world, 1).address not in (None, world.rows[scenes.DEVICE].address)

    def test_a_place_that_is_lost_each_time_is_refused_in_the_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries = []

        def lost(_self: FakePeripherals, peripheral: Peripheral) -> None:
            tries.append(peripheral)
            raise AddressTaken(str(peripheral.address))

        monkeypatch.setattr(FakePeripherals, "insert", lost)
        assert refused(scenes.world(), attach_asked()) == "block_device.address_taken"
        assert len(tries) == 21

    def test_a_disk_is_not_reserved_where_an_interface_is(self) -> None:
        world = peripheral_scenes.attached()
        scenes.reserve(world)
        assert world.rows[scenes.DEVICE].address != row(world).address

    def test_one_that_was_removed_meanwhile_is_not_made_again(self) -> None:
        world = scenes.world()
        begun = replace(peripheral_scenes.an_adopted_row(ALIAS, address=None), uuid=row_of(1))
        world.unplugged[begun.uuid] = replace(begun, status=DeviceStatus.ATTACHING, deleted=True)
        ended = run(world, attach_asked())
        assert ended.fault is not None
        assert ended.fault.code == "block_device.wrong_state"

    def test_one_that_is_attached_is_done(self) -> None:
        world = peripheral_scenes.attached()
        asked = attach_asked(number=EARLIER)
        again = replace(world.operations.pop(asked.id), state=OperationState.RUNNING)
        assert run(world, again).state is OperationState.SUCCEEDED

    def test_one_that_cannot_be_taken_back_is_stuck_and_its_row_says_so(self) -> None:
        world = stuck_attach()
        ended = fakes.ports(world).operations.get(attach_asked().id)
        assert ended.state is OperationState.STUCK
        assert ended.fault is not None
        assert "take back, remove row" in ended.fault.message
        assert row(world, 1).status is DeviceStatus.ERROR
        assert world.told[-1].peripheral == row(world, 1)

    def test_it_only_goes_forward_once_the_guest_has_it(self) -> None:
        world = peripheral_scenes.attached()
        ended = fakes.ports(world).operations.get(attach_asked(number=EARLIER).id)
        assert ended.past_commit_point

    def test_one_that_was_on_its_way_back_is_taken_back_before_it_is_attached_anew(self) -> None:
        """The guest may yet let go of what the earlier run asked back."""
        world = scenes.world()
        failed = scenes.Trouble(at=2)
        killed = scenes.Trouble(at=2, error=scenes.Crash)
        with pytest.raises(scenes.Crash):
            run(world, attach_asked(), failed, killed)
        world.crash()
        assert run(world, attach_asked()).fault is None
        steps = [step.name for step in world.steps[attach_asked().id]]
        again = steps[steps.index("guest_peripherals.unplug") + 1 :]
        assert again[0] == "guest_peripherals.unplug"
        assert interfaces(world) == ([ALIAS], [ALIAS])

    def test_one_that_is_stuck_keeps_its_device_and_nothing_else(self) -> None:
        world = stuck_attach()
        mine = replace(detach_asked(number=2), block_device=row_of(1))
        assert refused(world, mine) == "operation.blocked"
        assert run(world, attach_asked(OTHER_PORT, number=3)).fault is None
        scenes.attach(world)

    def test_past_the_commit_point_it_is_not_unplugged_again(self) -> None:
        world = stuck_attach()
        ended = fakes.ports(world).operations.get(attach_asked().id)
        before = len(world.steps[ended.id])
        world.operations[ended.id] = replace(
            ended, state=OperationState.RUNNING, past_commit_point=True
        )
        assert run(world, attach_asked()).fault is None
        again = [step.name for step in world.steps[ended.id][before:]]
        assert "guest_peripherals.attach" in again
        assert "guest_peripherals.unplug" not in again

    def test_one_that_is_stuck_and_retried_goes_on(self) -> None:
        world = stuck_attach()
        fakes.ports(world).stuck.reopen(attach_asked().id)
        assert run(world, attach_asked()).fault is None
        assert row(world, 1).status is DeviceStatus.ATTACHED
        assert interfaces(world) == ([ALIAS], [ALIAS])


def stuck_attach() -> World:
    """A guest that got an interface whose attach then failed, and whose way back did, too."""
    world = scenes.world()

    class Late:
        """The attach itself comes through, and is called a failure."""

        def __call__(self, name: str) -> Any:  # noqa: ANN401 - a context manager
            return scenes.Trouble(at=0 if name == "guest_peripherals.attach" else None, after=True)(
                name
            )

    run(world, attach_asked(), Late(), Refusing("guest_peripherals.unplug"))
    return world


class TestDetach:
    def test_neither_the_guest_nor_its_next_start_has_it(self) -> None:
        world = peripheral_scenes.attached()
        assert run(world, detach_asked()).fault is None
        assert interfaces(world) == ([], [])
        assert row(world).deleted
        assert world.events()[-2:] == [
            "instance.interface_detach.start",
            "instance.interface_detach.end",
        ]
        assert [told.peripheral is not None for told in world.told[-2:]] == [True, True]

    @pytest.mark.parametrize("number", [EARLIER, EARLIER + 1])
    def test_of_two_with_one_mac_the_one_that_is_meant_goes(self, number: int) -> None:
        world = peripheral_scenes.twins()
        other = row(world, 2 * EARLIER + 1 - number)
        asked = replace(detach_asked(None), block_device=row_of(number))
        assert run(world, asked).fault is None
        assert interfaces(world) == ([other.alias], [other.alias])
        assert list(world.peripherals) == [other.uuid]

    @pytest.mark.parametrize("number", [EARLIER, EARLIER + 1])
    def test_twins_that_bear_no_alias_of_ours_are_told_apart_by_their_place(
        self, number: int
    ) -> None:
        world = peripheral_scenes.of_other_hands()
        other = row(world, 2 * EARLIER + 1 - number)
        asked = replace(detach_asked(None), block_device=row_of(number))
        assert run(world, asked).fault is None
        guest = world.guests[INSTANCE]
        for places in (guest.live_peripherals, guest.persistent_peripherals):
            assert [one.address for one in places.values()] == [other.address]

    def test_one_that_the_guest_has_elsewhere_is_refused_before_all_else(self) -> None:
        world = peripheral_scenes.twins()
        guest = world.guests[INSTANCE]
        ours = guest.live_peripherals[ALIAS]
        theirs = guest.live_peripherals[alias_of(OTHER_PORT)]
        guest.live_peripherals = {ALIAS: replace(theirs, alias=ALIAS), "net9": ours}
        assert refused(world, detach_asked()) == "block_device.ambiguous"

    def test_what_is_gone_already_is_a_success(self) -> None:
        world = peripheral_scenes.attached()
        world.guests[INSTANCE].live_peripherals.clear()
        world.guests[INSTANCE].persistent_peripherals.clear()
        assert run(world, detach_asked()).fault is None
        assert row(world).deleted

    def test_a_domain_that_is_gone_has_no_device(self) -> None:
        world = peripheral_scenes.attached()
        del world.guests[INSTANCE]
        assert run(world, detach_asked()).fault is None
        assert row(world).deleted

    def test_a_second_one_that_means_the_same_row_is_a_success(self) -> None:
        world = peripheral_scenes.attached()
        for number in (1, 2):
            assert run(world, detach_asked(number=number)).fault is None

    def test_a_guest_that_refuses_leaves_all_as_it_was(self) -> None:
        world = peripheral_scenes.attached()
        world.guests[INSTANCE].busy = True
        assert refused(world, detach_asked()) == "block_device.guest_busy"
        assert row(world).status is DeviceStatus.ATTACHED

    def test_a_guest_that_refuses_and_lets_go_all_the_same_has_let_go(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = peripheral_scenes.attached()

        def let_go(_self: object, _instance: InstanceId, alias: str) -> None:
            world.guests[INSTANCE].live_peripherals.pop(alias, None)
            raise GuestBusy(alias)

        monkeypatch.setattr(FakeGuestPeripherals, "unplug", let_go)
        assert run(world, detach_asked()).fault is None
        assert row(world).deleted

    def test_a_guest_that_is_started_in_between_loses_it_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world, forget = peripheral_scenes.attached(), FakeGuestPeripherals.forget

        def started(self: FakeGuestPeripherals, instance: InstanceId, alias: str) -> None:
            guest = world.guests[INSTANCE]
            guest.live_peripherals = dict(guest.persistent_peripherals)
            forget(self, instance, alias)

        monkeypatch.setattr(FakeGuestPeripherals, "forget", started)
        assert run(world, detach_asked()).fault is None
        assert interfaces(world) == ([], [])

    def test_one_that_is_attaching_is_refused(self) -> None:
        world = peripheral_scenes.attached()
        world.peripherals[row_of(EARLIER)] = replace(row(world), status=DeviceStatus.ATTACHING)
        assert refused(world, detach_asked()) == "block_device.wrong_state"

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (scenes.taken_over, "instance.not_found"),
            (scenes.released, "instance.wrong_state"),
            (scenes.importing, "instance.wrong_state"),
        ],
    )
    def test_what_another_host_has_or_gets_is_left_alone(
        self, change: Callable[[World], None], code: str
    ) -> None:
        """The request was meant for this host as it was before."""
        world = peripheral_scenes.attached()
        change(world)
        assert refused(world, detach_asked()) == code
        assert row(world).status is DeviceStatus.ATTACHED

    def test_what_was_attached_anew_is_not_undone_by_a_late_one(self) -> None:
        world = peripheral_scenes.attached()
        assert run(world, detach_asked()).fault is None
        assert run(world, attach_asked(number=2)).fault is None
        assert refused(world, detach_asked(number=3)) == "block_device.superseded"

    @pytest.mark.parametrize("asked", [detach_asked(OTHER_PORT), peripheral_scenes.take_asked()])
    def test_a_row_that_is_not_what_is_named_is_refused(self, asked: Operation) -> None:
        assert refused(peripheral_scenes.attached(), asked) == "block_device.wrong_state"

    @pytest.mark.parametrize("row", [None, PeripheralId("c0ffee00-0000-4000-8000-0000000000ff")])
    def test_what_nobody_has_is_not_found(self, row: PeripheralId | None) -> None:
        asked = replace(detach_asked(OTHER_PORT), block_device=row)
        assert refused(scenes.world(), asked) == "peripheral.not_found"

    def test_one_that_only_qemu_has_is_taken_out_too(self) -> None:
        """A hypervisor that lost it denies it, and would call the unplug a success."""
        world = peripheral_scenes.attached()
        guest = world.guests[INSTANCE]
        guest.live_peripherals.clear()
        guest.peripheral_ghosts.add(ALIAS)
        assert run(world, detach_asked()).fault is None
        assert guest.peripheral_ghosts == set()

    @pytest.mark.parametrize(("own", "off"), [(False, False), (True, False), (False, True)])
    def test_a_guest_that_has_it_is_off_or_let_go_late_is_not_in_doubt(
        self, *, own: bool, off: bool
    ) -> None:
        """To ask QEMU marks a guest for good."""
        world = peripheral_scenes.attached()
        guest = world.guests[INSTANCE]
        if own or off:
            guest.live_peripherals.clear()
        if off:
            guest.vm_state = VmState.STOPPED
        assert run(world, replace(detach_asked(), own=own)).fault is None
        assert not guest.doubted

    def test_one_whose_effect_cannot_be_seen_is_stuck(self) -> None:
        world = peripheral_scenes.attached()
        away = Refusing("guest_peripherals.unplug")
        run(world, detach_asked(), away, Refusing("guests.describe", spared=2))
        assert row(world).status is DeviceStatus.ERROR
        assert world.events()[-1] == "operation.stuck"
        assert world.told[-1].peripheral == row(world)

    def test_what_a_running_guest_cannot_name_is_not_asked_for(self) -> None:
        world = peripheral_scenes.of_other_hands()
        guest = world.guests[INSTANCE]
        (first, *rest) = guest.live_peripherals.values()
        guest.live_peripherals = {"": replace(first, alias=None), "net1": rest[0]}
        assert refused(world, detach_asked()) == "hypervisor.refused"

    @pytest.mark.parametrize(
        ("number", "code"), [(0, "hypervisor.unavailable"), (1, "hypervisor.unavailable")]
    )
    def test_a_guest_that_cannot_be_seen_before_it_was_asked_keeps_it(
        self, number: int, code: str
    ) -> None:
        world = peripheral_scenes.attached()
        ended = run(world, detach_asked(), Refusing("guests.describe", spared=number))
        assert ended.fault is not None
        assert (ended.state, ended.fault.code) == (OperationState.FAILED, code)
        assert row(world).status is DeviceStatus.ATTACHED


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker(peripheral_scenes.attached(), guard=lambda: None)


def finish(worker: FakeWorker) -> None:
    while worker.lanes:
        worker.work(worker.lanes[0])


class TestMeant:
    """The row that is live when the message is accepted is the one that is meant."""

    def ask(self, worker: FakeWorker, method: str, number: int, **arguments: Any) -> OperationId:  # noqa: ANN401
        uuid = OperationId(f"{scenes.OPERATION[:-4]}{number:04d}")
        worker.call(method, operation_id=uuid, instance_uuid=INSTANCE, **arguments)
        return uuid

    def test_a_port_names_the_interface_that_is_live_now(self, worker: FakeWorker) -> None:
        asked = self.ask(worker, "detach_interface", 1, port_id=PORT)
        kept = fakes.ports(worker.world).operations.get(asked)
        assert kept.block_device == row_of(EARLIER)
        finish(worker)
        assert worker.world.peripherals == {}

    def test_a_row_names_itself(self, worker: FakeWorker) -> None:
        asked = self.ask(worker, "detach_interface", 1, peripheral_uuid=row_of(EARLIER))
        assert fakes.ports(worker.world).operations.get(asked).block_device == row_of(EARLIER)
        finish(worker)
        assert worker.world.peripherals == {}

    def test_neither_names_nothing(self, worker: FakeWorker) -> None:
        asked = self.ask(worker, "detach_interface", 1)
        finish(worker)
        fault = fakes.ports(worker.world).operations.get(asked).fault
        assert fault is not None
        assert fault.code == "peripheral.not_found"

    def test_a_detach_accepted_after_an_attach_of_the_same_port_waits_for_it(
        self, worker: FakeWorker
    ) -> None:
        """Nothing is there when it is accepted, so nothing is meant."""
        self.ask(worker, "attach_interface", 1, port_id=OTHER_PORT, network="user")
        detach = self.ask(worker, "detach_interface", 2, port_id=OTHER_PORT)
        finish(worker)
        fault = fakes.ports(worker.world).operations.get(detach).fault
        assert fault is not None
        assert fault.code == "peripheral.not_found"
        assert len(worker.world.peripherals) == 2

    def test_the_row_that_will_be_made_is_noted(self, worker: FakeWorker) -> None:
        asked = self.ask(worker, "attach_interface", 1, port_id=OTHER_PORT, network="user")
        again = self.ask(worker, "attach_interface", 1, port_id=OTHER_PORT, network="user")
        assert fakes.ports(worker.world).operations.get(again).block_device == row_of(1)
        finish(worker)
        assert row(worker.world, 1).status is DeviceStatus.ATTACHED
        assert fakes.ports(worker.world).operations.get(asked).state is OperationState.SUCCEEDED

    def test_the_list_has_what_is_live_oldest_first(self, worker: FakeWorker) -> None:
        self.ask(worker, "attach_interface", 1, port_id=OTHER_PORT, network="user")
        self.ask(worker, "detach_interface", 2, port_id=PORT)
        finish(worker)
        answer = worker.call("list_peripherals", instance_uuid=INSTANCE)
        assert [one["port_id"] for one in answer] == [OTHER_PORT]

    def test_of_an_instance_that_is_not_ours_there_is_no_list(self, worker: FakeWorker) -> None:
        elsewhere = ListPeripherals(instance_uuid=InstanceId("x"))
        with pytest.raises(WorkerError, match="x"):
            list_peripherals(elsewhere, fakes.ports(worker.world))


class TestAbandon:
    def abandon(self, world: World) -> str:
        worker = FakeWorker(world, guard=lambda: None)
        answer = worker.call("abandon_operation", operation_id=attach_asked().id)
        message: str = answer["message"]
        return message

    def test_what_the_guest_has_is_attached(self) -> None:
        world = stuck_attach()
        assert f"is attached: the guest has {ALIAS}" in self.abandon(world)
        assert row(world, 1).status is DeviceStatus.ATTACHED
        assert world.told[-1].event.value == "instance.interface_attach.error"
        assert world.told[-1].peripheral == row(world, 1)

    def test_what_only_the_next_start_has_is_attached(self) -> None:
        world = stuck_attach()
        world.guests[INSTANCE].live_peripherals.clear()
        assert "is attached" in self.abandon(world)

    def test_what_no_layout_has_is_removed(self) -> None:
        world = stuck_attach()
        world.guests[INSTANCE].live_peripherals.clear()
        world.guests[INSTANCE].persistent_peripherals.clear()
        assert f"is removed: the guest has no {ALIAS}" in self.abandon(world)
        assert row(world, 1).deleted

    def test_what_was_removed_before_is_left_alone(self) -> None:
        world = stuck_attach()
        fakes.ports(world).peripherals.remove(row(world, 1))
        world.commit()
        assert "was removed before" in self.abandon(world)

    def test_what_says_the_truth_stays(self) -> None:
        world = stuck_attach()
        world.peripherals[row_of(1)] = replace(row(world, 1), status=DeviceStatus.ATTACHED)
        assert "stays attached" in self.abandon(world)


def test_a_destroy_removes_the_rows_and_ends_what_is_stuck() -> None:
    world = stuck_attach()
    assert run(world, scenes.operation("destroy_instance", 2, instance_uuid=INSTANCE)).fault is None
    assert world.peripherals == {}
    assert fakes.ports(world).operations.get(attach_asked().id).state is OperationState.ABANDONED
    assert "instance.interface_attach.error" in world.events()


def test_an_error_of_the_hypervisor_is_told() -> None:
    world = scenes.world()
    ended = run(world, attach_asked(), Refusing("guest_peripherals.attach"))
    assert ended.fault is not None
    assert ended.fault.code == HypervisorUnavailable.code
    assert world.events()[-1] == "instance.interface_attach.error"


def refused_once(world: World, asked: Operation) -> FakeWorker:
    """Have the guest refuse to let go, and then let go all the same."""
    guest = world.guests[INSTANCE]
    guest.busy = True
    assert run(world, asked).fault is not None
    guest.busy = False
    worker = FakeWorker(world, guard=lambda: None)
    finish(worker)
    assert world.peripherals != {}
    return worker


@pytest.mark.parametrize(
    ("world", "asked"),
    [
        (peripheral_scenes.attached(), detach_asked()),
        (peripheral_scenes.given(), peripheral_scenes.take_asked()),
    ],
    ids=["interface", "host device"],
)
def test_what_a_guest_lets_go_of_late_is_gone_from_its_next_start_too(
    world: World, asked: Operation
) -> None:
    worker = refused_once(world, asked)
    world.guests[INSTANCE].live_peripherals.clear()
    worker.look(INSTANCE)
    finish(worker)
    assert (interfaces(world), world.peripherals) == (([], []), {})


def test_what_a_released_guest_has_no_more_was_not_let_go_of() -> None:
    """Its row stays as the document has it."""
    world = peripheral_scenes.attached()
    refused_once(world, detach_asked())
    scenes.released(world)
    assert look_at_guest(INSTANCE, fakes.ports(world)) == ()


def test_what_may_yet_be_there_is_not_called_gone() -> None:
    world = peripheral_scenes.twins()
    worker = refused_once(world, detach_asked())
    guest = world.guests[INSTANCE]
    ours, theirs = guest.live_peripherals.values()
    guest.live_peripherals = {
        "net9": replace(ours, alias="net9"),
        ALIAS: replace(theirs, alias=ALIAS),
    }
    worker.look(INSTANCE)
    finish(worker)
    assert row_of(EARLIER) in world.peripherals


@pytest.mark.parametrize(
    ("call", "asked"), [("attach", attach_asked(OTHER_PORT)), ("unplug", detach_asked())]
)
def test_without_the_journal_nothing_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, call: str, asked: Operation
) -> None:
    world = peripheral_scenes.attached()

    def away(*_given: object) -> None:
        raise DatabaseUnavailable(call)

    monkeypatch.setattr(FakeGuestPeripherals, call, away)
    with pytest.raises(DatabaseUnavailable):
        run(world, asked)
    assert {found.status for found in world.peripherals.values()} & {
        DeviceStatus.ATTACHING,
        DeviceStatus.DETACHING,
    }


def test_an_attach_is_an_operations() -> None:
    what = row(peripheral_scenes.attached()).what
    with pytest.raises(AssertionError):
        plug_in(INSTANCE, what, fakes.ports(scenes.world()))


def test_the_last_of_all_tries_may_win(monkeypatch: pytest.MonkeyPatch) -> None:
    world, insert, tries = scenes.world(), FakePeripherals.insert, []

    def lost(self: FakePeripherals, peripheral: Peripheral) -> None:
        tries.append(peripheral)
        if len(tries) <= RACES:
            raise AddressTaken(str(peripheral.address))
        insert(self, peripheral)

    monkeypatch.setattr(FakePeripherals, "insert", lost)
    assert run(world, attach_asked()).fault is None


def test_a_guest_that_lost_it_unseen_has_no_way_back() -> None:
    world = peripheral_scenes.attached()
    late = scenes.Trouble(at=2, after=True)
    blind = scenes.Trouble(at=3)
    ended = run(world, detach_asked(), late, blind)
    assert ended.state is OperationState.STUCK
    assert ended.fault is not None
    assert "lost" in ended.fault.message
