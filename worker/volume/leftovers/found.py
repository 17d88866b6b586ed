"""What is on the host, read from the kernel's files: no rights and no tools are needed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from worker.model.leftover import Leftover, LeftoverKind, Part
from worker.volume.leftovers.kernel import Kernel, text
from worker.volume.leftovers.names import (
    controller_mark,
    lun_mark,
    mount_mark,
    namespace_mark,
    only_mark,
    target_mark,
)

_MAP = "mpath-"
"""How the kernel marks multipath's maps among all that the device mapper makes."""

_ADDRESS = re.compile(r"(traddr|trsvcid)=([^,]+)")
_PATH = re.compile(r"^(nvme\d+)c\d+(n\d+)$")
"""A namespace as one controller of a subsystem has it: its device is without the middle."""

NO_ID = frozenset("0-")
"""What an identifier is made of that was never given."""


class Finder:
    """One look; who has which device open is asked once, and only if anything is there."""

    def __init__(self, kernel: Kernel, mount_bases: Sequence[str]) -> None:
        self._kernel = kernel
        self._bases = tuple(mount_bases)
        self._users: Mapping[str, str] | None = None

    def all(self) -> tuple[Leftover, ...]:
        """Return everything, maps before the sessions that their paths are of."""
        sessions = tuple(self._sessions())
        luns = {part.name: part for session in sessions for part in session.parts}
        return (*self._maps(luns), *sessions, *self._controllers(), *self._mounts())

    def _sessions(self) -> Iterator[Leftover]:
        for folder in sorted((self._kernel.sys / "class/iscsi_session").glob("session*")):
            iqn, portal = text(folder / "targetname"), _portal(folder / "device")
            if iqn is None or portal is None:
                continue
            found = tuple(self._luns(folder / "device", *portal, iqn))
            mark = target_mark(*portal, iqn)
            facts = {"iqn": iqn, "portal": mark.removeprefix("iscsi://").partition("/")[0]}
            yield Leftover(
                kind=LeftoverKind.SESSION,
                name=folder.name,
                about=mark,
                marks=frozenset({mark}),
                parts=tuple(part for _, part in found),
                facts=facts | {part.name: lun for lun, part in found},
            )

    def _luns(self, device: Path, host: str, port: str, iqn: str) -> Iterator[tuple[str, Part]]:
        for path in sorted(device.glob("target*/*:*:*:*/block/*")):
            lun = path.parent.parent.name.rpartition(":")[2]
            yield lun, self._part(path.name, frozenset({lun_mark(host, port, iqn, lun)}))

    def _maps(self, luns: Mapping[str, Part]) -> Iterator[Leftover]:
        for folder in sorted((self._kernel.sys / "block").glob("dm-*")):
            uuid, name = text(folder / "dm/uuid") or "", text(folder / "dm/name")
            if not uuid.startswith(_MAP) or name is None:
                continue
            wwid = uuid.removeprefix(_MAP)
            paths = sorted(path.name for path in folder.glob("slaves/*"))
            over = self._kernel.holders(folder.name)
            yield Leftover(
                kind=LeftoverKind.MAP,
                name=folder.name,
                about=f"multipath map {name}",
                wwid=wwid,
                parts=tuple(_path(path, luns, self._kernel) for path in paths),
                used=f"{', '.join(over)} over it" if over else self._used(folder.name),
                facts={"map": name, "wwid": wwid},
            )

    def _controllers(self) -> Iterator[Leftover]:
        for folder in sorted((self._kernel.sys / "class/nvme").glob("nvme*")):
            nqn, said = text(folder / "subsysnqn"), text(folder / "address") or ""
            where = dict(_ADDRESS.findall(said))
            if nqn is None or not where.get("trsvcid", "").isdecimal() or "traddr" not in where:
                # One of this machine's own has a PCI address.
                continue
            mark = controller_mark(where["traddr"], where["trsvcid"], nqn)
            yield Leftover(
                kind=LeftoverKind.CONTROLLER,
                name=folder.name,
                about=mark,
                marks=frozenset({mark}),
                parts=tuple(self._namespaces(folder, nqn)),
                facts={"nqn": nqn, "mark": mark},
            )

    def _namespaces(self, controller: Path, nqn: str) -> Iterator[Part]:
        found = sorted(controller.glob("nvme*n*"))
        for path in found:
            marks = {
                namespace_mark(nqn, kind, value)
                for kind in ("uuid", "nguid")
                if (value := text(path / kind)) is not None and not NO_ID.issuperset(value)
            }
            if len(found) == 1:
                marks.add(only_mark(nqn))
            yield self._part(_PATH.sub(r"\1\2", path.name), frozenset(marks))

    def _mounts(self) -> Iterator[Leftover]:
        for each in self._kernel.mounts():
            if str(Path(each.point).parent) in self._bases:
                yield Leftover(
                    kind=LeftoverKind.MOUNT,
                    name=each.point,
                    about=f"{each.kind} of {each.source}",
                    marks=frozenset({mount_mark(each.point)}),
                    facts={"source": each.source},
                )

    def _part(self, name: str, marks: frozenset[str]) -> Part:
        return Part(
            name=name,
            marks=marks,
            wwid=self._kernel.wwid(name),
            held=self._kernel.holders(name),
            used=self._used(name),
        )

    def _used(self, name: str) -> str | None:
        """Say who uses the device; what multipathd has open of a path is the map's."""
        if self._users is None:
            self._users = self._kernel.users()
        users = (self._users.get(number) for number in sorted(self._kernel.numbers(name)))
        said = next((user for user in users if user is not None), None)
        return None if said is None else f"{name}: {said}"


def _portal(session: Path) -> tuple[str, str] | None:
    """Return where the session leads, as it was asked for: a target may send elsewhere."""
    for folder in sorted(session.glob("connection*/iscsi_connection/connection*")):
        host = text(folder / "persistent_address") or text(folder / "address")
        port = text(folder / "persistent_port") or text(folder / "port")
        if host is not None and port is not None and port.isdecimal():
            return host, port
    return None


def _path(name: str, luns: Mapping[str, Part], kernel: Kernel) -> Part:
    """Return a path of a map as part of it: what holds it is the map itself."""
    marks = luns[name].marks if name in luns else frozenset[str]()
    return Part(name=name, marks=marks, wwid=kernel.wwid(name))
