"""The kernel's files: sysfs and proc, wherever they are mounted."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.volume.designators import designators, wwid_of

_ESCAPED = re.compile(r"\\([0-7]{3})")
"""How mountinfo writes what would part its fields: proc(5)."""


WATCHERS = frozenset({"multipathd", "udevd", "systemd-udevd", "(udev-worker)"})
"""Who has devices open only to see how they are, and lets go of them when they go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """One line of mountinfo; ``number`` is ``major:minor`` of what is mounted."""

    point: str
    number: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Reads only, and takes what goes meanwhile for what was not there."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")

    def block(self, name: str) -> Path:
        """Return the folder of a block device."""
        return self.sys / "block" / name

    def wwid(self, name: str) -> str | None:
        """Return the WWID of a device, as a row has it that was connected to it.

        Of several names that a SCSI device has for itself the kernel shows another one.
        """
        with suppress(OSError):
            page = (self.block(name) / "device" / "vpd_pg83").read_bytes()
            return wwid_of(designators(page))
        return text(self.block(name) / "wwid")

    def holders(self, name: str) -> tuple[str, ...]:
        """Return the devices that are made over a device or its partitions."""
        folder = self.block(name)
        held = [*folder.glob("holders/*"), *folder.glob(f"{name}*/holders/*")]
        return tuple(sorted({path.name for path in held}))

    def numbers(self, name: str) -> frozenset[str]:
        """Return ``major:minor`` of a device and its partitions."""
        folder = self.block(name)
        found = (text(path) for path in (folder / "dev", *folder.glob(f"{name}*/dev")))
        return frozenset(number for number in found if number is not None)

    def mounts(self) -> tuple[MountPoint, ...]:
        """Return what is mounted, as this process sees it."""
        said = text(self.proc / "self" / "mountinfo") or ""
        return tuple(_mount_point(line) for line in said.splitlines())

    def users(self) -> Mapping[str, str]:
        """Return who uses each block device, by its ``major:minor``: mounts, swap and open files.

        Of other users' processes an ordinary user sees nothing.
        """
        found = {each.number: f"it is mounted at {each.point}" for each in self.mounts()}
        found |= dict.fromkeys(self._swapped(), "it is swapped to")
        for process in self.proc.glob("[0-9]*"):
            for number in _opened(process):
                name = text(process / "comm")
                if name not in WATCHERS:
                    found.setdefault(number, f"process {process.name} ({name}) has it open")
        return found

    def _swapped(self) -> Iterator[str]:
        """Yield what /proc/swaps names; its first line is a heading."""
        said = text(self.proc / "swaps") or ""
        for line in said.splitlines()[1:]:
            name = Path(_plain(line.split()[0])).name
            number = text(self.sys / "class" / "block" / name / "dev")
            if number is not None:
                yield number


def text(path: Path) -> str | None:
    """Return what a file of the kernel says; None where it is not, or says nothing."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    return None


def _mount_point(line: str) -> MountPoint:
    fields, _, rest = line.partition(" - ")
    _, _, number, _, point, *_ = fields.split()
    kind, source, *_ = rest.split()
    return MountPoint(point=_plain(point), number=number, kind=kind, source=_plain(source))


def _plain(word: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), word)


def _opened(process: Path) -> Iterator[str]:
    """Yield the block devices that a process has open: by their number, for each may have a /dev.

    Asked of the open file itself, which its name leads to.
    """
    with suppress(OSError):
        for entry in os.scandir(process / "fd"):
            with suppress(OSError):
                found = entry.stat()
                if stat.S_ISBLK(found.st_mode):
                    yield f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
