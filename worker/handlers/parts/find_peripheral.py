"""Which interface or host device of a guest is a row's: the look-up, for handlers."""

from dataclasses import dataclass

from worker.handlers.parts.find_device import borne, note
from worker.model.guest import Guest
from worker.model.identity.lookup import Found, find, find_live
from worker.model.identity.sought import sought_peripheral
from worker.model.peripheral import Peripheral
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a guest has of a row: the alias to unplug, whether it runs with it, its next start."""

    alias: str
    shown: bool = False
    kept: Found | None = None


def see(row: Peripheral, guest: Guest | None, ports: Ports) -> Seen:
    """Find it in both layouts; raises DeviceAmbiguous."""
    if guest is None:
        return Seen(alias=row.alias)
    sought = sought_peripheral(row, ports.peripherals.of_instance(row.instance))
    live, kept = find_live(guest, sought), find(guest.persistent, sought)
    for found in (live, kept):
        note(row, found, ports)
    return Seen(alias=row.alias if live is None else borne(live), shown=live is not None, kept=kept)
