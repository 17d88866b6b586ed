"""A real iSCSI target in user space, and a volume service that exports its LUNs."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.fakes.volume_service import FakeAttachments
from tests.fakes.world import World
from tests.rings import require
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, VolumeId, new_uuid
from worker.model.volume import Volume, VolumeStatus

VENDOR, MODEL = "BWTEST", "passed through"
"""What the LUNs of the tests say of themselves; QEMU's own disks say QEMU."""

NOBODY = "iqn.2026-11.org.example.test:nobody"

LUN = 1
"""tgtd has a controller as LUN 0."""

_SOON = 20.0


@dataclass(kw_only=True)
class Target:
    """A tgtd of a test's own on a private port; a target with one LUN for each volume."""

    folder: Path
    port: int
    numbers: dict[VolumeId, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TGT_IPC_SOCKET": str(self.folder / "ipc")}

    def add(self, volume: VolumeId, size: int) -> Connection:
        """Make a LUN that nobody may log in to yet; return how it is reached."""
        number = self.numbers[volume] = len(self.numbers) + 1
        self._tgtadm("target", "new", number, "--targetname", iqn_of(volume))
        self._back(volume, size)
        return connection_to(volume, self.port)

    def resize(self, volume: VolumeId, size: int) -> None:
        """Have the LUN be larger: tgtd looks how large its file is only when it makes one."""
        self._tgtadm("logicalunit", "delete", self.numbers[volume], "--lun", LUN)
        self._back(volume, size)

    def allow(self, volume: VolumeId, initiator: str) -> None:
        """Let who has that name log in; again is fine."""
        try:
            self._tgtadm("target", "bind", self.numbers[volume], "--initiator-name", initiator)
        except AssertionError as error:
            if "already exists" not in str(error):
                raise

    def ask_password(self, volume: VolumeId, user: str, password: str) -> None:
        """Let only those log in who know it (CHAP)."""
        words = ("--user", user, "--password", password)
        self._account("new", *words)
        self._account("bind", "--tid", self.numbers[volume], "--user", user)

    @staticmethod
    def with_password(connection: Connection, user: str, password: str) -> Connection:
        said = {"auth_method": "CHAP", "auth_username": user, "auth_password": password}
        return replace(connection, properties={**connection.properties, **said})

    def sessions(self, volume: VolumeId) -> set[str]:
        """Return who is logged in, by name."""
        shown = self._tgtadm("conn", "show", self.numbers[volume])
        lines = (line.strip() for line in shown.splitlines())
        return {line.split()[1] for line in lines if line.startswith("Initiator:")}

    def wait_for_no_session(self, volume: VolumeId) -> None:
        end = time.monotonic() + _SOON
        while self.sessions(volume):
            assert time.monotonic() < end, self.sessions(volume)
            time.sleep(0.05)

    def answers(self) -> bool:
        return self._call("--mode", "target", "--op", "show").returncode == 0

    def end(self) -> None:
        """Have tgtd end: it takes no signal, and no such wish either while it has a target."""
        for number in self.numbers.values():
            self._call("--mode", "target", "--op", "delete", "--tid", number, "--force")
        self._call("--mode", "system", "--op", "delete")

    def _back(self, volume: VolumeId, size: int) -> None:
        number, backing = self.numbers[volume], self.folder / volume
        with backing.open("ab") as file:
            file.truncate(size)
        self._tgtadm("logicalunit", "new", number, "--lun", LUN, "--backing-store", backing)
        says = f"vendor_id={VENDOR},product_id={MODEL},scsi_sn={volume[:8]}"
        self._tgtadm("logicalunit", "update", number, "--lun", LUN, "--params", says)

    def _tgtadm(self, mode: str, act: str, number: int, *more: object) -> str:
        done = self._call("--mode", mode, "--op", act, "--tid", number, *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _account(self, act: str, *words: object) -> None:
        done = self._call("--mode", "account", "--op", act, *words)
        assert done.returncode == 0 or "already exists" in done.stderr, done.stderr

    def _call(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_program("tgtadm"), "--lld", "iscsi", *map(str, words)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SOON,
        )


def iqn_of(volume: str) -> str:
    return f"iqn.2026-11.org.example.test:{volume}"


def user_of(volume: str) -> str:
    """Return who logs in where a password is asked for: tgtd has its users for all targets."""
    return f"user-{volume[:8]}"


def connection_to(volume: str, port: int, lun: int = LUN) -> Connection:
    """Return what a volume service says of such a LUN, in Cinder's words."""
    properties = {
        "target_discovered": False,
        "target_portal": f"127.0.0.1:{port}",
        "target_iqn": iqn_of(volume),
        "target_lun": lun,
        "volume_id": volume,
        "access_mode": "rw",
    }
    return Connection(protocol="iscsi", properties=properties)


@contextmanager
def iscsi_target() -> Iterator[Target]:
    """Run a tgtd until the block ends; nothing of it is left then."""
    require(bool(_program("tgtd")) and bool(_program("tgtadm")), "tgtd (package tgt)")
    folder = Path(tempfile.mkdtemp(prefix="bw-tgt-"))
    target = Target(folder=folder, port=_free_port())
    words = [_program("tgtd"), "-f", "--iscsi", f"portal=127.0.0.1:{target.port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, env=target.environment, stdout=log, stderr=log)
    try:
        _wait_for(target, process)
        yield target
    finally:
        target.end()
        try:
            process.wait(_SOON)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder)


def _wait_for(target: Target, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _SOON
    while not target.answers():
        said = (target.folder / "log").read_text(errors="replace")
        assert process.poll() is None, said
        assert time.monotonic() < end, said
        time.sleep(0.05)


def _program(name: str) -> str:
    # It is installed where the PATH of an ordinary user does not look.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") or ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TargetAttachments(FakeAttachments):
    """A volume service whose volumes are LUNs of the target: exported to one initiator by name."""

    def __init__(self, world: World, target: Target) -> None:
        super().__init__(world)
        self.target = target
        self.only: str | None = None
        """Who is let in, whoever asks."""
        self.password: str | None = None
        """What who logs in must know."""

    def add(self, size: int, **said: Any) -> VolumeId:  # noqa: ANN401 - of the volume
        """Make a volume."""
        volume = VolumeId(new_uuid())
        self.target.add(volume, size)
        self.world.volumes[volume] = Volume(
            id=volume, size=size, status=VolumeStatus.AVAILABLE, **said
        )
        return volume

    def grow(self, volume: VolumeId, size: int) -> None:
        """Extend a volume, whoever has it."""
        self.target.resize(volume, size)
        self.world.volumes[volume] = replace(self.world.volumes[volume], size=size)

    def connect(self, attachment: AttachmentId, connector: Mapping[str, Any]) -> Connection:
        super().connect(attachment, connector)
        found = self.get(attachment)
        self.target.allow(found.volume, self.only or connector.get("initiator", NOBODY))
        connection = connection_to(found.volume, self.target.port)
        if self.password is not None:
            user = user_of(found.volume)
            self.target.ask_password(found.volume, user, self.password)
            connection = self.target.with_password(connection, user, self.password)
        self.world.attachments[attachment] = replace(found, connection=connection)
        return connection
