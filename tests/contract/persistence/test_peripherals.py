"""The rows of interfaces and host devices: the same promises of the databases and of the fake."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests import fakes
from tests.contract.persistence.scenes import START, a_device, an_interface, reserved
from tests.fakes.world import World
from worker.errors import AddressTaken, DeviceWrongState, IdTaken, PeripheralTaken
from worker.model.block_device import LEGAL_MOVES, DeviceStatus
from worker.model.host_device import parse_host_device
from worker.model.ids import InstanceId, PeripheralId, PortId, new_uuid
from worker.model.peripheral import Peripheral
from worker.model.places.address import PciAddress, UsbAddress
from worker.model.specification import Interface, InterfaceKind
from worker.persistence.database import Database
from worker.persistence.repositories import Repositories
from worker.ports import BlockDevices, Peripherals

STICK = parse_host_device("usb:046d:c52b")


class Rows:
    """Rows as one request after another sees them."""

    def __init__(self, repositories: Repositories | None) -> None:
        self._repositories = repositories
        self._world = World()

    @contextmanager
    def request(self) -> Iterator[tuple[Peripherals, BlockDevices]]:
        if self._repositories is None:
            ports = fakes.ports(self._world)
            yield ports.peripherals, ports.devices
            self._world.commit()
        else:
            call = self._repositories.for_call()
            yield call.peripherals, call.devices
            call.unit.commit()

    def insert(self, peripheral: Peripheral) -> Peripheral:
        with self.request() as (peripherals, _):
            peripherals.insert(peripheral)
        return peripheral

    def remove(self, peripheral: Peripheral) -> None:
        with self.request() as (peripherals, _):
            peripherals.remove(peripheral)

    def look(self, uuid: PeripheralId) -> Peripheral | None:
        with self.request() as (peripherals, _):
            return timeless(peripherals.look(uuid))


def timeless(row: Peripheral | None) -> Peripheral | None:
    return None if row is None else replace(row, created_at=None, updated_at=None)


@pytest.fixture(params=["database", "fake"])
def rows(request: pytest.FixtureRequest, repositories: Repositories) -> Rows:
    return Rows(repositories if request.param == "database" else None)


def a_stick(**fields: object) -> Peripheral:
    uuid = PeripheralId(new_uuid())
    given = {"uuid": uuid, "what": STICK, "alias": f"ua-{uuid}", "address": UsbAddress(port=1)}
    return an_interface(**(given | fields))


INTERFACE = an_interface(
    what=Interface(
        port=None, kind=InterfaceKind.BRIDGE, mac="52:54:00:12:34:56", target="br0", model="e1000"
    ),
    former="net-of-others",
    status=DeviceStatus.ATTACHED,
)


@pytest.mark.parametrize("given", [INTERFACE, a_stick(address=None)], ids=["interface", "stick"])
def test_a_row_comes_back_as_it_was_given(rows: Rows, given: Peripheral) -> None:
    rows.insert(given)
    with rows.request() as (peripherals, _):
        assert timeless(peripherals.look(given.uuid)) == given
        assert [timeless(row) for row in peripherals.of_instance(given.instance)] == [given]
        assert timeless(peripherals.bearing(given.instance, given.alias)) == given


def test_the_times_are_kept(repositories: Repositories) -> None:
    given = an_interface()
    repositories.for_call().peripherals.insert(given)
    found = repositories.for_call().peripherals.look(given.uuid)
    assert found == replace(given, created_at=START, updated_at=START)


def test_what_never_was_is_none(rows: Rows) -> None:
    assert rows.look(PeripheralId(new_uuid())) is None
    with rows.request() as (peripherals, _):
        assert peripherals.bearing(InstanceId(new_uuid()), "ua-x") is None
        assert peripherals.of_instance(InstanceId(new_uuid())) == ()


def test_rows_of_an_instance_come_oldest_first(rows: Rows) -> None:
    instance = InstanceId(new_uuid())
    made = [rows.insert(an_interface(instance=instance)).uuid for _ in range(4)]
    rows.insert(an_interface())
    with rows.request() as (peripherals, _):
        assert [row.uuid for row in peripherals.of_instance(instance)] == made


ALREADY = an_interface()


@pytest.mark.parametrize(
    ("same", "refusal"),
    [
        ({"uuid": ALREADY.uuid, "instance": InstanceId(new_uuid())}, IdTaken),
        ({"what": ALREADY.what}, PeripheralTaken),
        ({"alias": ALREADY.alias}, PeripheralTaken),
        ({"address": ALREADY.address}, AddressTaken),
    ],
    ids=["uuid", "port", "alias", "address"],
)
def test_the_key_that_refuses_names_the_error(
    rows: Rows, same: dict[str, object], refusal: type[Exception]
) -> None:
    rows.insert(ALREADY)
    with pytest.raises(refusal):
        rows.insert(an_interface(**({"instance": ALREADY.instance} | same)))


def test_the_same_row_again_is_an_id_taken(rows: Rows) -> None:
    given = rows.insert(an_interface())
    with pytest.raises(IdTaken):
        rows.insert(given)


def test_two_interfaces_of_an_instance_may_have_one_mac(rows: Rows) -> None:
    first = rows.insert(an_interface())
    assert isinstance(first.what, Interface)
    twin = replace(first.what, port=PortId(new_uuid()))
    rows.insert(an_interface(instance=first.instance, what=twin))


def test_interfaces_that_nobody_named_do_not_collide(rows: Rows) -> None:
    instance = InstanceId(new_uuid())
    for _ in range(2):
        nameless = Interface(port=None, kind=InterfaceKind.USER, mac="52:54:00:00:00:01")
        rows.insert(an_interface(instance=instance, what=nameless, address=None))


def test_instances_do_not_share_ports_aliases_or_addresses(rows: Rows) -> None:
    rows.insert(ALREADY)
    other = replace(ALREADY, uuid=PeripheralId(new_uuid()), instance=InstanceId(new_uuid()))
    rows.insert(other)


def test_a_device_of_the_host_has_one_holder(rows: Rows) -> None:
    first = rows.insert(a_stick())
    with pytest.raises(PeripheralTaken, match="usb:046d:c52b"):
        rows.insert(a_stick())
    with rows.request() as (peripherals, _):
        assert timeless(peripherals.having(STICK)) == first
    rows.remove(first)
    with rows.request() as (peripherals, _):
        assert peripherals.having(STICK) is None
    rows.insert(a_stick())


def test_another_host_has_devices_of_its_own(
    database: Database, repositories: Repositories
) -> None:
    repositories.for_call().peripherals.insert(a_stick())
    clock = repositories.for_call().unit.clock
    second = Repositories(database, "host-2", clock).for_call().peripherals
    assert second.having(STICK) is None
    second.insert(a_stick())


def test_no_disk_and_peripheral_of_an_instance_have_one_address(rows: Rows) -> None:
    place = PciAddress(bus=77, slot=1)
    disk = a_device(address=place)
    with rows.request() as (peripherals, devices):
        devices.insert(disk, reserved(disk))
        with pytest.raises(AddressTaken):
            peripherals.insert(an_interface(instance=disk.instance, address=place))
        peripherals.insert(an_interface(address=place))
        devices.remove(disk)
    card = rows.insert(an_interface(instance=disk.instance, address=place))
    with rows.request() as (peripherals, devices):
        again = a_device(instance=disk.instance, address=place)
        with pytest.raises(AddressTaken):
            devices.insert(again, reserved(again))
        assert devices.look(again.uuid) is None
        peripherals.remove(card)
    with rows.request() as (_, devices):
        devices.insert(again, reserved(again))


def test_devices_without_an_address_do_not_collide(rows: Rows) -> None:
    disk = a_device(address=None)
    with rows.request() as (peripherals, devices):
        devices.insert(disk, reserved(disk))
        peripherals.insert(an_interface(instance=disk.instance, address=None))


def test_a_removed_row_frees_its_places_and_stays_readable(rows: Rows) -> None:
    given = an_interface()
    for _ in range(3):
        rows.insert(given)
        for _ in range(2):
            rows.remove(given)
        gone = rows.look(given.uuid)
        assert gone == replace(given, deleted=True)
        with rows.request() as (peripherals, _):
            assert peripherals.of_instance(given.instance) == ()
            last = peripherals.bearing(given.instance, given.alias)
        assert timeless(last) == gone
        with pytest.raises(IdTaken):
            rows.insert(given)
        given = replace(given, uuid=PeripheralId(new_uuid()))


def test_the_live_row_bears_an_alias_before_those_that_are_gone(rows: Rows) -> None:
    old = rows.insert(an_interface())
    rows.remove(old)
    new = rows.insert(replace(old, uuid=PeripheralId(new_uuid())))
    with rows.request() as (peripherals, _):
        assert timeless(peripherals.bearing(old.instance, old.alias)) == new


@pytest.mark.parametrize("status", DeviceStatus)
def test_only_legal_moves_are_made(rows: Rows, status: DeviceStatus) -> None:
    given = rows.insert(an_interface(status=status))
    with rows.request() as (peripherals, _):
        for illegal in set(DeviceStatus) - LEGAL_MOVES[status]:
            with pytest.raises(DeviceWrongState):
                peripherals.move(given, illegal)
    for legal in LEGAL_MOVES[status]:
        other = rows.insert(an_interface(status=status))
        with rows.request() as (peripherals, _):
            assert peripherals.move(other, legal).status is legal
            with pytest.raises(DeviceWrongState):
                peripherals.move(other, legal)


def test_a_removed_row_does_not_move(rows: Rows) -> None:
    given = rows.insert(an_interface(status=DeviceStatus.ATTACHED))
    rows.remove(given)
    with rows.request() as (peripherals, _), pytest.raises(DeviceWrongState):
        peripherals.move(given, DeviceStatus.DETACHING)


def test_what_is_saved_is_seen_at_once_and_durable_with_the_next_commit(
    repositories: Repositories,
) -> None:
    given = an_interface()
    repositories.for_call().peripherals.insert(given)
    call = repositories.for_call()
    changed = replace(given, status=DeviceStatus.ATTACHED, former="ua-x", address=None)
    call.peripherals.save(changed)
    assert timeless(call.peripherals.look(given.uuid)) == changed
    assert timeless(repositories.for_call().peripherals.look(given.uuid)) == given
    call.unit.commit()
    assert timeless(repositories.for_call().peripherals.look(given.uuid)) == changed


def test_a_removed_row_stays_as_it_was(rows: Rows) -> None:
    given = rows.insert(an_interface())
    rows.remove(given)
    with rows.request() as (peripherals, _):
        peripherals.save(replace(given, status=DeviceStatus.ERROR))
    assert rows.look(given.uuid) == replace(given, deleted=True)
