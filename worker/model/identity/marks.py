"""The marks of a disk, alias and serial, and what an adoption changed of them."""

from dataclasses import dataclass

from worker.model.ids import BlockDeviceId, PeripheralId


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What a persistent layout says of a disk; None for nothing."""

    alias: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """An adopted row, and the marks that its disk had before."""

    device: BlockDeviceId
    marks: Marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What an adopted instance was before, kept as long as its row.

    ``autostart`` is whether the hypervisor started it by itself. ``peripherals`` is whether its
    interfaces and host devices were adopted with it; an older release left them alone.
    ``awaited`` are the rows that were refused then, for an instance had the host device say.
    """

    former: tuple[Former, ...] = ()
    autostart: bool = False
    peripherals: bool = False
    awaited: tuple[PeripheralId, ...] = ()

    def marks_of(self, device: BlockDeviceId) -> Marks | None:
        """Return the former marks of an adopted row's disk; None for a row that was not adopted."""
        return next((one.marks for one in self.former if one.device == device), None)
