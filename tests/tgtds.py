"""A tgtd as the worker starts one, and the pool that exports by it."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.fakes.pool_records import FakePoolRecords
from tests.fakes.volume_service import FakeConnector
from tests.fakes.world import World
from tests.rings import require
from worker.model.connection import Connection
from worker.volume.pool.attachments import PoolAttachments
from worker.volume.pool.chap import ChapLogins
from worker.volume.pool.exports import IscsiFace
from worker.volume.pool.keeper import ExportKeeper
from worker.volume.pool.tgt import Tgt
from worker.volume.pool.tgtd import Daemon, PrivateTgtd
from worker.volume.pool.volumes import FilePool
from worker.volume.qemu_initiator import QemuInitiator

KEY = bytes(range(64))
PREFIX = "iqn.2010-10.org.openstack:"
INITIATOR = "iqn.2026-11.org.example.test:guests"
OTHER_INITIATOR = "iqn.2026-11.org.example.test:others"
HOST = "host-1"

_SOON = 20.0


@contextmanager
def private_tgtd() -> Iterator[PrivateTgtd]:
    """Lend one that is not started yet; nothing of it is left afterwards."""
    require(bool(program("tgtd")) and bool(program("tgtadm")), "tgtd (package tgt)")
    folder = Path(tempfile.mkdtemp(prefix="bw-pool-tgt-"))
    try:
        yield PrivateTgtd(folder)
    finally:
        end(folder)
        shutil.rmtree(folder)


def program(name: str) -> str:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") or ""


def pid_of(folder: Path) -> int | None:
    """Return who lives in the folder."""
    for process in Path("/proc").iterdir():
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if arguments[0].endswith(b"tgtd") and (process / "cwd").resolve() == folder.resolve():
                return int(process.name)
        except OSError:
            continue
    return None


def kill(folder: Path) -> None:
    """As the kernel would, out of memory."""
    pid = pid_of(folder)
    assert pid is not None
    os.kill(pid, 9)
    # Its socket may outlast its command line by a moment.
    until(lambda: pid_of(folder) is None and not Tgt(folder / "ipc.0").runs())


def end(folder: Path) -> None:
    if pid_of(folder) is not None:
        kill(folder)


def until(true: object) -> None:
    assert callable(true)
    deadline = time.monotonic() + _SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tgtadm(folder: Path, mode: str, *more: str) -> str:
    """Return what tgtd shows to others than the worker."""
    done = subprocess.run(
        [program("tgtadm"), "--lld", "iscsi", "--mode", mode, "--op", "show", *more],
        env={**os.environ, "TGT_IPC_SOCKET": "ipc"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def users(folder: Path) -> set[str]:
    """Return whom tgtd knows the password of."""
    lines = tgtadm(folder, "account").splitlines()
    return {line.strip() for line in lines[1:]}


@dataclass(kw_only=True)
class ExportingPool:
    """A pool with the iSCSI face, on records in memory."""

    records: FakePoolRecords
    pool: FilePool
    attachments: PoolAttachments
    face: IscsiFace
    keeper: ExportKeeper


def exporting(
    daemon: Daemon, folder: Path, records: FakePoolRecords | None = None
) -> ExportingPool:
    """Make a pool; with the records of another one, it is that one's next life."""
    records = records or FakePoolRecords()
    face = IscsiFace(daemon, ChapLogins(lambda: KEY), prefix=PREFIX)
    return ExportingPool(
        records=records,
        pool=FilePool(records=records, folder=folder, face=face),
        attachments=PoolAttachments(records=records, face=face),
        face=face,
        keeper=ExportKeeper(records=records, face=face, daemon=daemon),
    )


def size_seen(connection: Connection, initiator: str = INITIATOR) -> int:
    """Log in as QEMU does; raises ConnectFailed."""
    qemu = QemuInitiator(FakeConnector(World()), name=initiator, timeout=_SOON)
    return qemu.examine(qemu.connect(connection)).size


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """QEMU's initiator, with a volume open."""

    process: subprocess.Popen[str]
    log: IO[str]

    def told(self, command: str) -> None:
        """Have it done, whenever that will be."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def ended(self) -> str:
        """Return what was said, once all is done that was told."""
        self.process.communicate("quit\n", timeout=60)
        self.log.seek(0)
        return self.log.read()


@contextmanager
def logged_in(connection: Connection, initiator: str = INITIATOR) -> Iterator[LoggedIn]:
    """Be somebody who has the volume open, and keeps it open for as long as he is let."""
    said = connection.properties
    descriptor = os.memfd_create("password")
    os.write(descriptor, said["auth_password"].encode())
    words = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": said["target_portal"],
        "target": said["target_iqn"],
        "lun": said["target_lun"],
        "initiator-name": initiator,
        "user": said["auth_username"],
        "password-secret": "password",
    }
    image = ",".join(f"{name}={value}" for name, value in words.items())
    secret = f"secret,id=password,file=/dev/fd/{descriptor},format=raw"
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            ["qemu-io", "--object", secret, "--image-opts", image],
            pass_fds=(descriptor,),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
        )
        try:
            yield LoggedIn(process=process, log=log)
        finally:
            process.kill()
            process.wait()
            os.close(descriptor)
