"""Guests of an older release get the aliases of their rows, and nothing else happens to them."""

import json
from dataclasses import replace

import pytest

from tests import fakes
from tests.fakes.volume_service import FakeConnector
from tests.fakes.world import World
from tests.unit import alias_scenes, scenes
from tests.unit.alias_scenes import CARD, FIRST, TWIN, nameless, rowless
from tests.unit.scenes import DEVICE, INSTANCE, VOLUME, Trouble, operation, run
from worker.errors import ConnectFailed, DomainNotFound, HypervisorRefused, PeripheralTaken
from worker.handlers.check_aliases import CheckAliases, check_aliases
from worker.handlers.export_xml import ExportXml, export_xml
from worker.handlers.forget_instance import check_alone
from worker.handlers.look_at_guest import look_at_guest
from worker.handlers.migrate_aliases import MigrateAliases, look_for_aliases
from worker.handlers.parts.lacking_peripherals import add_lacking, lacking_of
from worker.model import specification_plain
from worker.model.connection import Connection
from worker.model.guest import GuestHostDevice, GuestInterface, Layout
from worker.model.host_device import HostDevice, HostDeviceKind
from worker.model.identity.marks import Adoption
from worker.model.ids import InstanceId
from worker.model.instance import VmState
from worker.model.operation import OperationState
from worker.model.peripheral import Peripheral
from worker.model.peripheral_rows import rows_of_layout
from worker.model.places.address import PciAddress
from worker.model.places.controllers import interface_addresses
from worker.model.source import HostVolume
from worker.model.specification import Interface, InterfaceKind, Specification
from worker.model.update import Event, Update

ASKED = operation("migrate_aliases", instance_uuid=INSTANCE)
ALIASES = {f"ua-{VOLUME}", FIRST.alias, TWIN.alias, CARD.alias}


def persistent(world: World) -> Layout:
    found = fakes.ports(world).guests.describe(INSTANCE).persistent
    assert found is not None
    return found


def told(world: World) -> Update:
    (update,) = [one for one in world.told if one.event is Event.ALIASES_MIGRATED]
    return update


def look(world: World, *, first: bool = True) -> bool:
    """Tell whether a look at the guest calls for a migration."""
    wanted = look_at_guest(INSTANCE, fakes.ports(world), first=first)
    return MigrateAliases(instance_uuid=INSTANCE) in wanted


@pytest.mark.parametrize("vm_state", [VmState.ACTIVE, VmState.STOPPED])
def test_every_kind_gets_its_alias_and_the_running_guest_is_left_alone(vm_state: VmState) -> None:
    world = nameless(vm_state)
    before, live = persistent(world), fakes.ports(world).guests.describe(INSTANCE).live
    assert run(world, ASKED).fault is None
    after = persistent(world)
    assert {device.alias for device in after.devices} == ALIASES
    assert [replace(one, alias=None) for one in after.devices] == list(before.devices)
    assert fakes.ports(world).guests.describe(INSTANCE).live == live


def test_it_is_told_what_became_of_each_device() -> None:
    world = nameless()
    run(world, ASKED)
    update = told(world)
    assert (update.operation, update.count, update.fault) == (ASKED.id, 4, None)
    assert {device["alias"] for device in update.devices or ()} == ALIASES
    assert {device["found_by"] for device in update.devices or ()} == {"facts"}


def test_a_second_run_changes_nothing() -> None:
    world = nameless()
    run(world, ASKED)
    before = persistent(world)
    world.told.clear()
    again = run(world, operation("migrate_aliases", number=9, instance_uuid=INSTANCE))
    assert again.fault is None
    assert persistent(world) == before
    assert "definitions.mark" not in [step.name for step in again.steps]
    assert (told(world).count, told(world).devices) == (0, ())


def test_what_is_in_doubt_is_skipped_and_told_and_the_rest_is_given() -> None:
    world = nameless()
    double_the_disk(world)
    assert run(world, ASKED).fault is None
    assert {device.alias for device in persistent(world).devices} == ALIASES - {f"ua-{VOLUME}"} | {
        None
    }
    (skipped,) = [one for one in told(world).devices or () if one["result"] == "skipped"]
    assert (skipped["uuid"], "may be it" in str(skipped["why"])) == (DEVICE, True)


def double_the_disk(world: World) -> None:
    """Let another disk have the serial and the source of the volume's, too."""
    guest = world.guests[INSTANCE]
    (disk,) = guest.persistent.values()
    guest.persistent["?vdz"] = replace(disk, target="vdz", address=None)


def test_a_start_asks_for_it_once_and_an_event_never() -> None:
    world = nameless()
    assert look(world)
    assert not look(world, first=False)
    fakes.ports(world).operations.accept(ASKED)
    assert not look(world)
    run(world, ASKED)
    assert not look(world)


def test_what_waits_for_it_keeps_no_instance_from_being_exported_or_forgotten() -> None:
    world = nameless()
    fakes.ports(world).operations.accept(ASKED)
    check_alone(INSTANCE, fakes.ports(world))


def test_a_start_asks_for_it_where_a_device_is_in_doubt() -> None:
    world = nameless()
    run(world, ASKED)
    alias_scenes.unname(world)
    double_the_disk(world)
    assert look(world)


def test_a_start_does_not_ask_for_what_killed_the_worker_until_it_was_stuck() -> None:
    world = nameless()
    world.operations[ASKED.id] = replace(ASKED, state=OperationState.STUCK)
    assert not look(world)


@pytest.mark.parametrize("transient", [True, False])
def test_a_guest_that_is_not_kept_or_not_there_needs_none(*, transient: bool) -> None:
    world = nameless()
    if transient:
        world.guests[INSTANCE].transient = True
    else:
        del world.guests[INSTANCE]
    assert not look(world)


def test_a_guest_that_is_not_there_is_reported() -> None:
    world = nameless()
    del world.guests[INSTANCE]
    ended = run(world, ASKED)
    assert ended.fault is not None
    assert ended.fault.code == DomainNotFound.code
    assert (told(world).fault, told(world).count) == (ended.fault, 0)


def marking() -> int:
    """Return which call of the operation writes."""
    steps = run(nameless(), ASKED).steps
    return [step.name for step in steps].index("definitions.mark")


def test_a_refusal_is_reported_and_never_stuck() -> None:
    world, before = nameless(), nameless()
    ended = run(world, ASKED, Trouble(at=marking(), error=HypervisorRefused))
    assert ended.state is OperationState.FAILED
    assert told(world).fault == ended.fault
    assert world.guests == before.guests


def test_a_lost_answer_is_no_failure_where_the_aliases_are_there() -> None:
    world = nameless()
    ended = run(world, ASKED, Trouble(at=marking(), after=True))
    assert ended.state is OperationState.SUCCEEDED
    assert told(world).count == 4


def test_a_transient_guest_is_told_to_have_none() -> None:
    world = nameless()
    world.guests[INSTANCE].transient = True
    assert run(world, ASKED).state is OperationState.SUCCEEDED
    assert {one["result"] for one in told(world).devices or ()} == {"absent"}


def test_a_guest_that_is_gone_when_the_answer_is_lost_fails() -> None:
    world = nameless()

    def take_away(name: str) -> HypervisorRefused:
        world.guests[INSTANCE].transient = True
        return HypervisorRefused(name)

    ended = run(world, ASKED, Trouble(at=marking(), error=take_away))
    assert ended.state is OperationState.FAILED


def test_a_check_changes_nothing_and_says_the_same() -> None:
    world, before = nameless(), nameless()
    said = check_aliases(CheckAliases(instance_uuid=INSTANCE), fakes.ports(world))
    assert world.guests == before.guests
    run(world, ASKED)
    assert said["devices"] == list(told(world).devices or ())
    assert said["kept"] is True


def test_only_what_lacks_its_alias_is_looked_for_on_the_host() -> None:
    world = scenes.world()
    scenes.attach(world)
    adopted_whole(world)
    ports = fakes.ports(world)
    unasked = replace(ports, connector=Unfindable(world))
    assert not look_at_guest(INSTANCE, unasked, first=True)
    alias_scenes.unname(world)
    guest = unasked.guests.describe(INSTANCE)
    with pytest.raises(AssertionError):
        look_for_aliases(world.instances[INSTANCE], guest, unasked)


def adopted_whole(world: World) -> Adoption:
    adoption = Adoption(peripherals=True)
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], adoption=adoption)
    return adoption


class Unfindable(FakeConnector):
    """Nothing is to be looked for."""

    def find(self, connection: Connection) -> HostVolume | None:
        raise AssertionError(connection)


class Away(FakeConnector):
    def find(self, connection: Connection) -> HostVolume | None:
        raise ConnectFailed(connection.protocol)


def test_a_source_that_cannot_be_had_is_a_doubt_and_no_failure() -> None:
    world = nameless()
    ports = replace(fakes.ports(world), connector=Away(world))
    said = check_aliases(CheckAliases(instance_uuid=INSTANCE), ports)
    assert isinstance(said["devices"], list)
    assert {one["result"] for one in said["devices"]} == {"skipped", "given"}


def test_a_volume_that_is_not_on_the_host_has_no_source() -> None:
    world = nameless()
    world.rows[DEVICE] = replace(world.rows[DEVICE], connection=None)
    said = check_aliases(CheckAliases(instance_uuid=INSTANCE), fakes.ports(world))
    assert isinstance(said["devices"], list)
    assert "skipped" in {one["result"] for one in said["devices"]}


def test_a_text_is_written_with_and_without_aliases() -> None:
    world = nameless()
    run(world, ASKED)
    texts = [
        export_xml(ExportXml(instance_uuid=INSTANCE, without_aliases=without), fakes.ports(world))[
            "domain_xml"
        ]
        for without in (False, True)
    ]
    kept, bare = (world.texts[text] for text in texts)
    assert set(kept.persistent) | set(kept.persistent_peripherals) == ALIASES
    assert {disk.alias for disk in bare.persistent.values()} == {""}
    assert {one.alias for one in bare.persistent_peripherals.values()} == {None}


def rows(world: World) -> tuple[Peripheral, ...]:
    return fakes.ports(world).peripherals.of_instance(INSTANCE)


def test_rows_that_an_older_release_did_not_keep_are_made_of_what_the_guest_has() -> None:
    world = rowless()
    assert look(world)
    said = check_aliases(CheckAliases(instance_uuid=INSTANCE), fakes.ports(world))
    assert rows(world) == ()
    assert run(world, ASKED).fault is None
    found = rows(world)
    assert {(row.what, row.address) for row in found} == {
        (replace(one.what, port=None) if isinstance(one.what, Interface) else one.what, one.address)
        for one in (FIRST, TWIN, CARD)
    }
    assert {row.alias for row in found} == {f"ua-{row.uuid}" for row in found}
    assert {device.alias for device in persistent(world).devices} == {
        f"ua-{VOLUME}",
        *(row.alias for row in found),
    }
    assert said["devices"] == list(told(world).devices or ())
    assert not look(world)


def test_rows_of_a_built_instance_are_those_of_its_ports_at_the_places_that_it_was_built_with() -> (
    None
):
    world = rowless()
    nets = tuple(one.what for one in (FIRST, TWIN) if isinstance(one.what, Interface))
    specification = Specification(vcpus=1, memory=64, interfaces=nets)
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], specification=specification)
    # Its aliases are there already: it is the rows that are missing.
    aliases = (FIRST.alias, TWIN.alias)
    places = interface_addresses(specification.shape, 2)
    guest = world.guests[INSTANCE]
    kept = [
        replace(one, alias=alias, address=place)
        for one, alias, place in zip(
            guest.persistent_peripherals.values(), aliases, places, strict=False
        )
    ]
    guest.persistent_peripherals = {one.alias or "": one for one in kept}
    guest.persistent.clear()
    world.rows.clear()
    assert look(world)
    assert run(world, ASKED).fault is None
    assert [(row.alias, row.address, row.what) for row in rows(world)] == [
        (alias, place, what) for alias, place, what in zip(aliases, places, nets, strict=True)
    ]
    assert not look(world)
    fakes.ports(world).peripherals.remove(rows(world)[0])
    world.commit()
    assert not look(world)
    assert len(rows(world)) == 1


def test_what_was_let_go_is_not_taken_in_again() -> None:
    world = rowless()
    run(world, ASKED)
    for row in rows(world):
        fakes.ports(world).peripherals.remove(row)
    world.commit()
    guest = world.guests[INSTANCE]
    guest.persistent_peripherals = {
        f"?{one.address}": replace(one, alias=None) for one in guest.persistent_peripherals.values()
    }
    assert not look(world)


def test_what_other_hands_give_to_a_guest_that_was_adopted_whole_is_not_ours() -> None:
    world = rowless()
    adoption = adopted_whole(world)
    run(world, ASKED)
    assert rows(world) == ()
    assert {one.alias for one in persistent(world).interfaces} == {None}
    kept = specification_plain.json_of(None, adoption)
    assert specification_plain.adoption_in(kept) == adoption


def test_a_host_device_that_another_instance_has_is_skipped_and_told() -> None:
    world = rowless()
    other = InstanceId("ab5e0000-0000-4000-8000-00000000000f")
    world.peripherals[CARD.uuid] = replace(CARD, instance=other)
    assert run(world, ASKED).fault is None
    (skipped,) = [one for one in told(world).devices or () if one["result"] == "skipped"]
    assert (skipped["kind"], skipped["name"]) == ("host_device", "pci:0000:03:00.0")
    assert skipped["why"] == f"instance {other} has it"
    assert persistent(world).host_devices[0].alias is None
    kept = world.instances[INSTANCE].adoption
    assert kept is not None
    plain = json.loads(json.dumps(specification_plain.json_of(None, kept)))
    assert specification_plain.adoption_in(plain) == kept


def give_theirs(world: World) -> None:
    """Let other hands give the guest an interface."""
    place = PciAddress(bus=12, slot=0)
    theirs = GuestInterface(mac="52:54:00:ff:ff:ff", alias=None, address=place, kind="bridge")
    world.guests[INSTANCE].persistent_peripherals["?theirs"] = theirs


def test_a_host_device_that_was_another_instances_is_taken_in_once_it_is_free() -> None:
    world = rowless()
    other = InstanceId("ab5e0000-0000-4000-8000-00000000000f")
    world.peripherals[CARD.uuid] = replace(CARD, instance=other)
    run(world, ASKED)
    assert not look(world)
    del world.peripherals[CARD.uuid]
    give_theirs(world)
    assert look(world)
    again = run(world, operation("migrate_aliases", number=9, instance_uuid=INSTANCE))
    assert again.fault is None
    assert [row.what for row in rows(world)][2:] == [CARD.what]
    assert not look(world)


def test_what_other_hands_give_once_the_rows_are_kept_is_not_ours() -> None:
    world = rowless()
    run(world, ASKED)
    for row in rows(world):
        fakes.ports(world).peripherals.remove(row)
    world.commit()
    world.guests[INSTANCE].persistent_peripherals.clear()
    give_theirs(world)
    assert not look(world)
    assert run(world, operation("migrate_aliases", number=9, instance_uuid=INSTANCE)).fault is None
    assert rows(world) == ()


def test_a_guest_that_had_none_is_kept_as_adopted_whole_before_other_hands_give_one() -> None:
    world = rowless()
    world.guests[INSTANCE].persistent_peripherals.clear()
    assert look(world)
    run(world, ASKED)
    assert world.instances[INSTANCE].adoption == Adoption(peripherals=True)
    give_theirs(world)
    assert not look(world)


def test_what_was_attached_before_the_rows_were_made_keeps_no_other_from_its_row() -> None:
    world = nameless()
    for row in (TWIN, CARD):
        del world.peripherals[row.uuid]
    guest = world.guests[INSTANCE]
    guest.persistent_peripherals["?net"] = replace(
        guest.persistent_peripherals["?net"], alias=FIRST.alias
    )
    assert run(world, ASKED).fault is None
    assert [row.address for row in rows(world)] == [FIRST.address, TWIN.address, CARD.address]
    assert rows(world)[0] == FIRST


def test_a_row_whose_device_is_gone_keeps_no_other_from_its_row() -> None:
    world = rowless()
    world.peripherals[FIRST.uuid] = FIRST
    del world.guests[INSTANCE].persistent_peripherals["?net"]
    del world.guests[INSTANCE].persistent_peripherals["?twin"]
    assert run(world, ASKED).fault is None
    assert [row.what for row in rows(world)] == [FIRST.what, CARD.what]


def test_what_may_be_a_rows_gets_no_other_row() -> None:
    world = nameless()
    del world.peripherals[FIRST.uuid]
    elsewhere = replace(CARD, address=PciAddress(bus=13, slot=0))
    world.peripherals[CARD.uuid] = elsewhere
    assert run(world, ASKED).fault is None
    assert [row.what for row in rows(world)][:2] == [TWIN.what, CARD.what]
    assert [row.address for row in rows(world)][2:] == [FIRST.address]


def test_a_device_whose_place_a_row_has_is_skipped_and_told() -> None:
    world = rowless()
    world.rows[DEVICE] = replace(world.rows[DEVICE], address=FIRST.address)
    assert run(world, ASKED).fault is None
    skipped = [one["why"] for one in told(world).devices or () if one["result"] == "skipped"]
    assert f"address {FIRST.address} is taken" in skipped
    assert [row.address for row in rows(world)] == [TWIN.address, CARD.address]


def test_rows_are_kept_together_or_not_at_all() -> None:
    world = rowless()
    ports = fakes.ports(world)
    instance = world.instances[INSTANCE]
    lacking = lacking_of(instance, persistent(world), ports)
    other = InstanceId("ab5e0000-0000-4000-8000-00000000000f")
    world.peripherals[CARD.uuid] = replace(CARD, instance=other)
    with pytest.raises(PeripheralTaken):
        add_lacking(instance, lacking, ports)
    assert (rows(world), world.instances[INSTANCE]) == ((), instance)


def test_a_device_of_a_kind_that_is_unknown_gets_no_row() -> None:
    place = FIRST.address
    net = GuestInterface(mac="52:54:00:00:00:09", alias="ua-x", address=place, kind="user")
    card = GuestHostDevice(source=None, alias=None, address=place)
    stick = replace(card, source=HostDevice(kind=HostDeviceKind.USB, name="046d:c52b"))
    hubbed = replace(
        card, source=HostDevice(kind=HostDeviceKind.USB, name="046d:0001"), address=None
    )
    key = replace(card, source=HostDevice(kind=HostDeviceKind.USB, name="046d:0002"))
    named = HostDevice(kind=HostDeviceKind.USB, name="046d:0003")
    theirs = replace(card, source=named)
    known = Layout(
        disks=(),
        interfaces=(net, replace(net, kind="direct"), replace(net, address=None)),
        host_devices=(card, stick, replace(stick, address=TWIN.address), hubbed, key, theirs),
        taken=frozenset(),
        places={},
    )
    taken = rows_of_layout(INSTANCE, known, lambda _device: FIRST.uuid, {named: INSTANCE})
    assert [(row.former, str(row.what)[:3]) for row in taken.rows] == [
        ("ua-x", "Int"),
        ("ua-x", "Int"),
        (None, "usb"),
    ]
    whats = [row.what for row in taken.rows]
    kinds = [what.kind for what in whats if isinstance(what, Interface)]
    assert kinds == [InterfaceKind.USER, InterfaceKind.OTHER]
    assert sorted(taken.left_out.values()) == [
        "a host device of this kind is unknown here",
        "another host device of the guest is named alike",
        "another host device of the guest is named alike",
        f"instance {INSTANCE} has it",
        "its address is of a form that is unknown here",
        "its address is of a form that is unknown here",
    ]
