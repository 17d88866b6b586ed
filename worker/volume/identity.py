"""Who a connected device says that it is: asked itself, and compared with what the kernel keeps.

The kernel asks a device once, when it appears. A storage that gives another volume under the same
address since, or a device that was left over from an earlier attach, is told by nothing else
(CVE-2023-2088, CVE-2020-17376).
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.errors import ConnectFailed, WrongDevice
from worker.model.source import Seen
from worker.volume.designators import Designator, designators, page_in, wwid_of

SECTOR = 512
"""What sysfs counts sizes in, whatever the device's blocks are."""

_MAP = "mpath-"
_NVME_NAMES = ("uuid.", "eui.")

Ask = Callable[..., str]
"""Runs a tool with the rights that it needs, and returns what it wrote; raises ConnectFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """One device of a volume, read anew and found to be as the kernel has it."""

    size: int
    names: tuple[Designator, ...]


class Devices:
    """The block devices of this host.

    ``sysfs`` is where the kernel shows them.
    """

    def __init__(self, ask: Ask, sysfs: Path = Path("/sys")) -> None:
        self._ask = ask
        self._block = sysfs / "class" / "block"

    def examine(self, path: str) -> Seen:
        """Return what a fresh reading shows of the device.

        Raises WrongDevice when the kernel takes it for another than it says that it is, or the
        paths of one volume lead to several; ConnectFailed when it does not answer; OSError.
        """
        try:
            return self._examined(path)
        except (ValueError, LookupError, TypeError) as error:
            message = f"what {path} says of itself cannot be read: {error!r}"
            raise ConnectFailed(message) from error

    def _examined(self, path: str) -> Seen:
        name = Path(path).resolve().name
        if paths := self._paths_of(name):
            return self._map(name, paths)
        if self._is_scsi(name):
            found = self._scsi(name)
            return Seen(size=found.size, wwid=wwid_of(found.names))
        if self._has_nvme_name(name):
            return self._nvme(name)
        return Seen(size=_size_of(path))

    def _paths_of(self, name: str) -> tuple[str, ...]:
        """Return the devices below a multipath map; none for anything else."""
        if not (self._text(name, "dm/uuid") or "").startswith(_MAP):
            return ()
        return tuple(sorted(path.name for path in (self._block / name / "slaves").iterdir()))

    def _is_scsi(self, name: str) -> bool:
        return (self._block / name / "device" / "scsi_level").exists()

    def _has_nvme_name(self, name: str) -> bool:
        return name.startswith("nvme") and (self._block / name / "wwid").exists()

    def _text(self, name: str, file: str) -> str | None:
        try:
            return (self._block / name / file).read_text(encoding="utf-8").strip()
        except OSError:
            return None

    def _kept_size(self, name: str) -> int:
        return int(self._text(name, "size") or 0) * SECTOR

    def _scsi(self, name: str) -> _Path:
        blocks, length = self._ask("sg_readcap", "--brief", f"/dev/{name}").split()[:2]
        size, kept = int(blocks, 16) * int(length, 16), self._kept_size(name)
        if size != kept:
            raise WrongDevice(f"{name} says that it has {size} bytes, and the kernel has {kept}")
        return _Path(size=size, names=self._names(name))

    def _names(self, name: str) -> tuple[Designator, ...]:
        try:
            page = (self._block / name / "device" / "vpd_pg83").read_bytes()
        except OSError:
            # It has none, or is too old to be asked for it.
            return ()
        told = self._ask("sg_vpd", "--page=0x83", "-HHHH", f"/dev/{name}")
        kept, fresh = designators(page), designators(page_in(told))
        if fresh != kept:
            said, had = (wwid_of(names) or _all(names) for names in (fresh, kept))
            raise WrongDevice(f"{name} says that it is {said}, and the kernel takes it for {had}")
        return fresh

    def _map(self, name: str, paths: Sequence[str]) -> Seen:
        """A path that is cut cannot be asked; one that answers is enough, and all must agree."""
        answers = {path: answer for path in paths if (answer := self._answer(path)) is not None}
        if not answers:
            raise ConnectFailed(f"none of {', '.join(paths)}, the paths of {name}, answers")
        first = next(iter(answers.values()))
        for path, answer in answers.items():
            if answer != first:
                raise WrongDevice(f"{path} is another volume than the other paths of {name}")
        self._check_map(name, first)
        return Seen(size=first.size, wwid=wwid_of(first.names))

    def _answer(self, path: str) -> _Path | None:
        try:
            return self._scsi(path)
        except ConnectFailed:
            return None

    def _check_map(self, name: str, path: _Path) -> None:
        if self._kept_size(name) != path.size:
            kept = self._kept_size(name)
            raise WrongDevice(f"{name} has {kept} bytes, and its paths have {path.size}")
        known = (self._text(name, "dm/uuid") or "").removeprefix(_MAP)
        possible = {one.map_name for one in path.names} - {None}
        if possible and known[:1] in ("2", "3") and known not in possible:
            raise WrongDevice(f"{name} was made for {known}, and its paths are {_all(path.names)}")

    def _nvme(self, name: str) -> Seen:
        space = self._text(name, "nsid") or "1"
        kept, wwid = self._kept_size(name), self._text(name, "wwid") or ""
        for controller in self._controllers(name):
            where = (f"/dev/{controller}", f"--namespace-id={space}", "--output-format=json")
            space_data = json.loads(self._ask("nvme", "id-ns", *where))
            size = _nvme_size(space_data)
            if size != kept:
                raise WrongDevice(f"{name} has {size} bytes by {controller}; the kernel has {kept}")
            listed = json.loads(self._ask("nvme", "ns-descs", *where))
            names = _nvme_names(space_data, listed)
            if wwid.startswith(_NVME_NAMES) and wwid not in names:
                said = ", ".join(sorted(names)) or "nothing"
                raise WrongDevice(f"{name} is {said} by {controller}; the kernel has {wwid}")
        return Seen(size=kept, wwid=wwid if wwid.startswith(_NVME_NAMES) else None)

    def _controllers(self, name: str) -> tuple[str, ...]:
        """Return the live ones; a namespace of several has them below its subsystem."""
        above = (self._block / name / "device").resolve()
        found = [path.name for path in above.glob("nvme*") if (path / "state").exists()]
        names = found or [above.name]
        live = sorted(one for one in names if self._controller_state(above, one) == "live")
        if not live:
            raise ConnectFailed(f"no controller of {name} is live")
        return tuple(live)

    def _controller_state(self, above: Path, name: str) -> str | None:
        folder = above if above.name == name else above / name
        return (folder / "state").read_text(encoding="utf-8").strip()


def _all(names: Sequence[Designator]) -> str:
    return ", ".join(name.text for name in names) or "nobody"


def _nvme_size(said: dict[str, object]) -> int:
    formats: Any = said["lbafs"]
    used = int(str(said.get("flbas", 0))) & 15
    return int(str(said["nsze"])) << int(formats[used]["ds"])


def _nvme_names(said: dict[str, object], listed: dict[str, object]) -> frozenset[str]:
    names = {f"eui.{said.get(field, '')}" for field in ("nguid", "eui64") if _given(said, field)}
    described = listed.get("ns-descs")
    each = described if isinstance(described, list) else []
    return frozenset(names | {f"uuid.{one['uuid']}" for one in each if one.get("uuid")})


def _given(said: dict[str, object], field: str) -> bool:
    return bool(str(said.get(field, "")).strip("0"))


def _size_of(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
