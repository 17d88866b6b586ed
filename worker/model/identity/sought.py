"""What is known of a row's device, for the look-up (``model/identity/lookup.py``)."""

from collections.abc import Iterable
from typing import assert_never

from worker.model.block_device import BlockDevice
from worker.model.host_device import HostDevice
from worker.model.identity.lookup import DeviceKind, Sought
from worker.model.identity.serials import given_serial
from worker.model.peripheral import Peripheral
from worker.model.specification import Interface


def sought_disk(row: BlockDevice, source: str | None = None) -> Sought:
    """Return what is known of a row's disk; ``source`` is where its content is on this host."""
    known = {
        "serial": given_serial(row.serial, row.device_type),
        "source": source,
        "target": row.target,
        "address": None if row.address is None else str(row.address),
    }
    facts = {name: fact for name, fact in known.items() if fact}
    return Sought(kind=DeviceKind.DISK, alias=row.alias, facts=facts)


def sought_peripheral(row: Peripheral, rows: Iterable[Peripheral] = ()) -> Sought:
    """Return what is known of a row's interface or host device.

    ``rows`` are those of its instance: a twin that another of them places is not this one's.
    """
    facts = {} if row.address is None else {"address": str(row.address)}
    match row.what:
        case Interface() as interface:
            facts["mac"] = interface.mac
            kind = DeviceKind.INTERFACE
        case HostDevice() as device:
            facts["source"] = str(device)
            kind = DeviceKind.HOST_DEVICE
        case _:
            assert_never(row.what)
    return Sought(
        kind=kind, alias=row.alias, facts=facts, former=row.former, others=_twins(row, rows)
    )


def _twins(row: Peripheral, rows: Iterable[Peripheral]) -> frozenset[str]:
    """Return where other rows have an interface of the same MAC."""
    mac = _mac(row)
    twins = (one for one in rows if one.uuid != row.uuid and mac is not None and _mac(one) == mac)
    return frozenset(str(one.address) for one in twins if one.address is not None)


def _mac(row: Peripheral) -> str | None:
    return row.what.mac if isinstance(row.what, Interface) else None
