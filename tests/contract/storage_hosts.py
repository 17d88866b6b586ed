"""Hosts with things of a storage network on them: one in memory, one as a folder like sysfs."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tests.fakes.leftovers import FakeLeftovers
from tests.fakes.world import World
from worker.model.connection import Connection
from worker.model.leftover import Leftover, LeftoverKind, Part
from worker.ports import Leftovers
from worker.volume.leftovers.host import HostLeftovers
from worker.volume.leftovers.kernel import Kernel
from worker.volume.leftovers.tools import Tools

ResultT = TypeVar("ResultT")

IQN, HOST, PORT = "iqn.2026-01.org.example:one", "192.0.2.1", "3260"
BASE = "/var/lib/blockworker/mnt"
EXPORT = "server:/export"


class StorageHost(ABC):
    """A host to plant things on."""

    leftovers: Leftovers

    @abstractmethod
    def log_in(self, session: str, iqn: str, **devices: int) -> None:
        """Plant a session whose devices are these LUNs."""

    @abstractmethod
    def mount_device(self, device: str) -> None:
        """Let a file system be mounted from the device."""

    @abstractmethod
    def connection(self, iqn: str, lun: int) -> Connection:
        """Return how a volume service says that the LUN is reached."""

    def devices(self, session: str) -> list[str]:
        there = (thing for thing in self.leftovers.list() if thing.name == session)
        return [part.name for thing in there for part in thing.parts]


class FakeStorageHost(StorageHost):
    def __init__(self) -> None:
        self.world = World()
        self.leftovers = FakeLeftovers(self.world)

    def log_in(self, session: str, iqn: str, **devices: int) -> None:
        parts = tuple(
            Part(name=name, marks=frozenset({f"{iqn}/{lun}"})) for name, lun in devices.items()
        )
        thing = Leftover(
            kind=LeftoverKind.SESSION,
            name=session,
            about=iqn,
            marks=frozenset({iqn}),
            parts=parts,
        )
        self.world.leftovers[thing.key] = thing

    def mount_device(self, device: str) -> None:
        for key, thing in self.world.leftovers.items():
            parts = tuple(
                replace(part, used="mounted") if part.name == device else part
                for part in thing.parts
            )
            self.world.leftovers[key] = replace(thing, parts=parts)

    def connection(self, iqn: str, lun: int) -> Connection:
        return Connection(
            protocol="fake", properties={"device_path": f"{iqn}/{lun}", "target": iqn}
        )


class FolderTools(Tools):
    """Does to the folder what the real ones have the kernel do."""

    def __init__(self, host: "FolderHost") -> None:
        self.host = host
        self.ran: list[tuple[str, ...]] = []
        self.before: Callable[[], object] = lambda: None

    def remove_lun(self, portal: str, iqn: str, lun: int) -> None:
        self.ran.append(("remove_lun", portal, iqn, str(lun)))
        if self.host.dead:
            return
        for session in self.host.sessions(portal, iqn):
            for path in session.glob(f"device/target*/*:*:*:{lun}"):
                for block in path.glob("block/*"):
                    shutil.rmtree(self.host.sys / "block" / block.name)
                shutil.rmtree(path)
            if not list(session.glob("device/target*/*/block/*")):
                shutil.rmtree(session)

    def run(self, *words: str) -> None:
        self.ran.append(words)
        if self.host.dead:
            return
        match words:
            case ("iscsiadm", "-m", "node", "-T", iqn, "-p", portal, "--logout"):
                for session in self.host.sessions(portal, iqn):
                    shutil.rmtree(session)
            case ("iscsiadm", "-m", "node", "-T", _, "-p", _, "--op", "delete"):
                pass
            case ("multipath", "-f", name):
                self.host.flush(name)
            case ("nvme", "disconnect", "-d", name):
                shutil.rmtree(self.host.sys / "class/nvme" / name)
            case ("umount", point):
                self.host.unmount(point)
            case _:
                raise AssertionError(words)

    def alone(self, call: Callable[[], ResultT]) -> ResultT:
        """Whoever was before us has had his way."""
        self.before()
        return call()


class FolderHost(StorageHost):
    """sysfs and proc in a folder, as far as they are read.

    Where ``dead`` is set its tools do nothing, and say that all went well.
    """

    def __init__(self, folder: Path) -> None:
        self.sys, self.proc = folder / "sys", folder / "proc"
        self.tools = FolderTools(self)
        self.dead = False
        self.lines: list[str] = []
        self._mounts()
        self.leftovers = HostLeftovers(
            self.tools, mount_bases=[BASE], kernel=Kernel(sys=self.sys, proc=self.proc)
        )

    def log_in(self, session: str, iqn: str, **devices: int) -> None:
        self.log_in_at(HOST, PORT, session, iqn, **devices)

    def log_in_at(self, host: str, port: str, session: str, iqn: str, **devices: int) -> None:
        folder = self.sys / "class/iscsi_session" / session
        write(folder / "targetname", iqn)
        number = session.removeprefix("session")
        connection = f"device/connection{number}:0/iscsi_connection/connection{number}:0"
        write(folder / connection / "persistent_address", host)
        write(folder / connection / "persistent_port", port)
        for name, lun in devices.items():
            (folder / f"device/target2:0:0/2:0:0:{lun}/block/{name}").mkdir(parents=True)
            self.block(name, f"8:{16 * (ord(name[-1]) - ord('a'))}")
            self.call(name, name)

    def call(self, name: str, own: str) -> None:
        """Have a device say on its page 0x83 that it is of nobody's making, and this one."""
        value = f"TEST    {own}".encode()
        page = bytes([0, 0x83, 0, 4 + len(value), 2, 1, 0, len(value)]) + value
        (self.sys / "block" / name / "device").mkdir(parents=True, exist_ok=True)
        (self.sys / "block" / name / "device/vpd_pg83").write_bytes(page)

    def block(self, name: str, number: str) -> Path:
        folder = self.sys / "block" / name
        write(folder / "dev", number)
        return folder

    def sessions(self, portal: str, iqn: str) -> list[Path]:
        found = (self.sys / "class/iscsi_session").glob("session*")
        return [path for path in found if (path / "targetname").read_text().strip() == iqn]

    def make_map(self, device: str, name: str, wwid: str, *paths: str) -> None:
        folder = self.block(device, f"253:{device[3:]}")
        write(folder / "dm/uuid", f"mpath-{wwid}")
        write(folder / "dm/name", name)
        for path in paths:
            (folder / "slaves" / path).mkdir(parents=True)
            (self.sys / "block" / path / "holders" / device).mkdir(parents=True)

    def flush(self, name: str) -> None:
        for folder in (self.sys / "block").glob("dm-*"):
            if (folder / "dm/name").read_text().strip() == name:
                for path in folder.glob("slaves/*"):
                    (self.sys / "block" / path.name / "holders" / folder.name).rmdir()
                shutil.rmtree(folder)

    def connect_nvme(self, name: str, nqn: str, address: str, **namespaces: str) -> None:
        folder = self.sys / "class/nvme" / name
        write(folder / "subsysnqn", nqn)
        write(folder / "address", address)
        for device, uuid in namespaces.items():
            write(folder / device / "uuid", uuid)
            write(folder / device / "nguid", "00000000-0000-0000-0000-000000000000")
            write(self.sys / "block" / device / "dev", "259:1")

    def swap_to(self, device: str) -> None:
        number = (self.sys / "block" / device / "dev").read_text().strip()
        write(self.sys / "class/block" / device / "dev", number)
        write(self.proc / "swaps", f"Filename Type Size\n/dev/{device} partition 1000")

    def mount_device(self, device: str) -> None:
        number = (self.sys / "block" / device / "dev").read_text().strip()
        self.mount(number, "/mnt/of others", "ext4", f"/dev/{device}")

    def mount(self, number: str, point: str, kind: str, source: str) -> None:
        escaped = point.replace(" ", "\\040")
        self.lines.append(f"36 35 {number} / {escaped} rw,noatime shared:1 - {kind} {source} rw")
        self._mounts()

    def unmount(self, point: str) -> None:
        self.lines = [line for line in self.lines if line.split()[4] != point]
        self._mounts()

    def _mounts(self) -> None:
        write(self.proc / "self/mountinfo", "\n".join(self.lines))

    def connection(self, iqn: str, lun: int) -> Connection:
        return iscsi(iqn, lun)


def iscsi(iqn: str, lun: int, portal: str = f"{HOST}:{PORT}", **more: Any) -> Connection:  # noqa: ANN401
    said = {"target_portal": portal, "target_iqn": iqn, "target_lun": lun}
    return Connection(protocol="iscsi", properties=said | more)


def write(path: Path, said: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{said}\n")
