"""Targets of the machine's own: tgtd with two portals, and the kernel's own of NVMe."""

import mmap
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.system.inside.storage.daemons import daemon, run, wait_for
from worker.model.connection import Connection

MIB = 1 << 20
SIZE = 32 * MIB
ADDRESSES = ("192.0.2.1", "192.0.2.2")
PORTALS = tuple(f"{address}:3260" for address in ADDRESSES)
LUN = 1
_BLOCK = 4096
_NVMET = Path("/sys/kernel/config/nvmet")


def new_file(folder: Path, name: str, size: int = SIZE) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    return path


@dataclass(kw_only=True)
class Tgt:
    """Targets, each with one LUN, at both portals."""

    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, backing: Path, *, password: str | None = None) -> Connection:
        """Export a file or device; return how it is reached by its first portal."""
        number = self.numbers[name] = max(self.numbers.values(), default=0) + 1
        self.adm("target", "new", number, "--targetname", iqn(name))
        self.put(name, backing)
        said: dict[str, Any] = {}
        if password is not None:
            self.adm("account", "new", None, "--user", name, "--password", password)
            self.adm("account", "bind", number, "--user", name)
            said = {"auth_method": "CHAP", "auth_username": name, "auth_password": password}
        self.adm("target", "bind", number, "--initiator-address", "ALL")
        return iscsi(name, **said)

    def put(self, name: str, backing: Path, serial: str | None = None) -> None:
        """Make the LUN, which says that it is ``serial``."""
        number = self.numbers[name]
        self.adm("logicalunit", "new", number, "--lun", LUN, "--backing-store", backing)
        says = f"scsi_id=volume-{serial or name},scsi_sn={serial or name}"
        self.adm("logicalunit", "update", number, "--lun", LUN, "--params", says)

    def replace(self, name: str, backing: Path, serial: str | None = None) -> None:
        """Put another volume under the same address; nobody is told."""
        self.adm("logicalunit", "delete", self.numbers[name], "--lun", LUN)
        self.put(name, backing, serial)

    def remove(self, name: str) -> None:
        self.adm("target", "delete", self.numbers.pop(name), "--force")

    def adm(
        self, mode: str, act: str, number: int | None, *more: object, check: bool = True
    ) -> str:
        target = () if number is None else ("--tid", number)
        words = ("tgtadm", "--lld", "iscsi", "--mode", mode, "--op", act)
        return run(*words, *target, *more, check=check)


@contextmanager
def cut_off(address: str) -> Iterator[None]:
    """Take an address away for the block: whoever talks to it hears nothing any more."""
    run("ip", "address", "delete", f"{address}/32", "dev", "lo")
    try:
        yield
    finally:
        have(address)


def have(address: str) -> None:
    run("ip", "address", "add", f"{address}/32", "dev", "lo")


def iqn(name: str) -> str:
    return f"iqn.2026-11.org.example.test:{name}"


def iscsi(name: str, **said: object) -> Connection:
    """Return what Cinder says of such a LUN."""
    properties = {
        "target_discovered": False,
        "target_portal": PORTALS[0],
        "target_iqn": iqn(name),
        "target_lun": LUN,
        "volume_id": name,
        "access_mode": "rw",
        **said,
    }
    return Connection(protocol="iscsi", properties=properties)


def by_both(connection: Connection) -> Connection:
    """Return the connection by both portals."""
    said = connection.properties
    both = {
        "target_portals": list(PORTALS),
        "target_iqns": [said["target_iqn"]] * 2,
        "target_luns": [LUN] * 2,
    }
    return Connection(protocol="iscsi", properties={**said, **both})


@contextmanager
def tgtd() -> Iterator[Tgt]:
    for address in ADDRESSES:
        have(address)
    where = ",".join(f"portal={portal}" for portal in PORTALS)
    with daemon("tgtd", "-f", "--iscsi", where):
        target = Tgt()
        wait_for(lambda: answers("tgtadm", "--mode", "sys", "--op", "show"), "tgtd does not answer")
        yield target
        for number in target.numbers.values():
            target.adm("target", "delete", number, "--force", check=False)
        run("tgtadm", "--mode", "system", "--op", "delete", check=False)


def answers(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


class Nvmet:
    """The kernel's NVMe target: subsystems with namespaces, at one port of TCP."""

    PORT = 4420

    def __init__(self) -> None:
        port = _NVMET / "ports" / "1"
        port.mkdir()
        for name, value in (
            ("addr_traddr", "127.0.0.1"),
            ("addr_trtype", "tcp"),
            ("addr_trsvcid", str(self.PORT)),
            ("addr_adrfam", "ipv4"),
        ):
            (port / name).write_text(value)
        self._port = port

    def add(self, subsystem: str, number: int, backing: Path, uuid: str) -> Connection:
        """Export a file as a namespace; return how it is reached."""
        folder = _NVMET / "subsystems" / nqn(subsystem)
        if not folder.exists():
            folder.mkdir()
            (folder / "attr_allow_any_host").write_text("1")
            (self._port / "subsystems" / nqn(subsystem)).symlink_to(folder)
        loop = run("losetup", "--find", "--show", backing).strip()
        space = folder / "namespaces" / str(number)
        space.mkdir()
        self.put(subsystem, number, loop, uuid)
        said = {
            "target_nqn": nqn(subsystem),
            "portals": [["127.0.0.1", self.PORT, "tcp"]],
            "vol_uuid": uuid,
            "ns_id": number,
            "access_mode": "rw",
        }
        return Connection(protocol="nvmeof", properties=said)

    def put(self, subsystem: str, number: int, device: str, uuid: str) -> None:
        space = self.space(subsystem, number)
        (space / "device_path").write_text(device)
        (space / "device_uuid").write_text(uuid)
        (space / "enable").write_text("1")

    def space(self, subsystem: str, number: int) -> Path:
        return _NVMET / "subsystems" / nqn(subsystem) / "namespaces" / str(number)

    def device(self, subsystem: str, number: int) -> str:
        """Return what is behind the namespace."""
        return (self.space(subsystem, number) / "device_path").read_text().strip()

    def withdraw(self, subsystem: str, number: int) -> None:
        (self.space(subsystem, number) / "enable").write_text("0")

    def revalidate(self, subsystem: str, number: int) -> None:
        (self.space(subsystem, number) / "revalidate_size").write_text("1")


def nqn(name: str) -> str:
    return f"nqn.2026-11.org.example.test:{name}"


def write(path: str, text: str, *, at: int = 0) -> None:
    """Write a block past every cache, as a guest of ours does."""
    descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        with mmap.mmap(-1, _BLOCK) as buffer:
            buffer.write(text.encode().ljust(_BLOCK, b"\0"))
            assert os.pwrite(descriptor, buffer, at * _BLOCK) == _BLOCK
    finally:
        os.close(descriptor)


def read(path: str, *, at: int = 0) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, _BLOCK) as buffer:
            assert os.preadv(descriptor, [buffer], at * _BLOCK) == _BLOCK
            return bytes(buffer).rstrip(b"\0").decode()
    finally:
        os.close(descriptor)
