"""Scenes of interfaces and host devices."""

from dataclasses import replace
from typing import Any

from tests.fakes.peripherals import shown_peripheral
from tests.fakes.world import ShownPeripheral, World
from tests.unit import scenes
from tests.unit.scenes import INSTANCE, operation, run
from worker.model.block_device import DeviceStatus
from worker.model.guest import GuestInterface
from worker.model.ids import OperationId, PeripheralId, PortId
from worker.model.operation import Operation
from worker.model.peripheral import Peripheral, row_made_by
from worker.model.specification import Interface, InterfaceKind

PORT = PortId("90f70000-0000-4000-8000-000000000001")
OTHER_PORT = PortId("90f70000-0000-4000-8000-000000000002")
MAC = "52:54:00:12:34:56"
STICK = "usb:046d:c52b"

EARLIER = 300
"""The numbers of operations that a scene begins with."""


def attach_asked(port: PortId = PORT, number: int = 1, **arguments: Any) -> Operation:  # noqa: ANN401
    given = {"instance_uuid": INSTANCE, "port_id": port, "mac_address": MAC, "network": "user"}
    return making(operation("attach_interface", number, **(given | arguments)))


def give_asked(device: str = STICK, number: int = 1) -> Operation:
    return making(
        operation("attach_host_device", number, instance_uuid=INSTANCE, host_device=device)
    )


def making(asked: Operation) -> Operation:
    """Note the row that it makes, as its acceptance does."""
    return replace(asked, block_device=row_made_by(asked.id))


def row_of(number: int) -> PeripheralId:
    """Return the row of the operation of that number."""
    return row_made_by(OperationId(f"{scenes.OPERATION[:-4]}{number:04d}"))


def detach_asked(
    port: PortId | None = PORT, row: PeripheralId | None = None, number: int = 1
) -> Operation:
    """Ask for the interface of a port, or of a row; the row is noted as at acceptance."""
    asked = operation("detach_interface", number, instance_uuid=INSTANCE, port_id=port)
    return replace(asked, block_device=row or row_of(EARLIER))


def take_asked(number: int = 1) -> Operation:
    asked = operation("detach_host_device", number, instance_uuid=INSTANCE, host_device=STICK)
    return replace(asked, block_device=row_of(EARLIER))


def attached() -> World:
    """A running guest that was given an interface."""
    world = scenes.world()
    assert run(world, attach_asked(number=EARLIER)).fault is None
    return world


def twin() -> World:
    """The same: what is attached next has its MAC."""
    return attached()


def twins() -> World:
    """A guest with two interfaces of one MAC, and nothing else to tell them apart."""
    world = attached()
    assert run(world, attach_asked(OTHER_PORT, EARLIER + 1)).fault is None
    return world


def given() -> World:
    """A running guest that was given a USB stick."""
    world = scenes.world()
    assert run(world, give_asked(number=EARLIER)).fault is None
    return world


def of_other_hands() -> World:
    """A guest that other hands made, with twins, before our rows were: no alias is ours."""
    world = twins()
    guest = world.guests[INSTANCE]
    guest.live_peripherals = _renamed(guest.live_peripherals, ("net0", "net1"))
    guest.persistent_peripherals = _renamed(guest.persistent_peripherals, ("", "?"))
    return world


def given_before_our_alias() -> World:
    """The guest with the stick, made anew by other hands: its alias is not ours."""
    world = given()
    guest = world.guests[INSTANCE]
    guest.live_peripherals = _renamed(guest.live_peripherals, ("hostdev0",))
    guest.persistent_peripherals = _renamed(guest.persistent_peripherals, ("",))
    return world


def _renamed(
    shown: dict[str, ShownPeripheral], aliases: tuple[str, ...]
) -> dict[str, ShownPeripheral]:
    names = zip(shown.values(), aliases, strict=True)
    return {alias: replace(one, alias=alias.strip("?") or None) for one, alias in names}


def row(world: World, number: int = EARLIER) -> Peripheral:
    """Return the row of the operation of that number."""
    return {**world.peripherals, **world.unplugged}[row_of(number)]


def an_adopted_row(alias: str, **fields: Any) -> Peripheral:  # noqa: ANN401 - of any field
    """Return a row of an interface that nobody named."""
    kind = fields.pop("kind", InterfaceKind.USER)
    uuid = PeripheralId("ad0b7000-0000-4000-8000-000000000001")
    return Peripheral(
        uuid=uuid,
        instance=INSTANCE,
        what=Interface(port=None, kind=kind, mac=MAC),
        alias=alias,
        status=DeviceStatus.ATTACHED,
        **fields,
    )


def interfaces(world: World) -> tuple[list[str | None], list[str | None]]:
    """Return the aliases that the running guest and its next start have."""
    guest = world.guests[INSTANCE]
    places = (guest.live_peripherals, guest.persistent_peripherals)
    live, persistent = ([one.alias for one in place.values()] for place in places)
    return live, persistent


def macs(world: World) -> list[str]:
    """Return the MACs that the running guest sees."""
    shown = world.guests[INSTANCE].live_peripherals.values()
    return [one.mac for one in shown if isinstance(one, GuestInterface)]


__all__ = ["shown_peripheral"]
