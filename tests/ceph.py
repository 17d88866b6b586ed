"""One-node Ceph as private processes: a monitor, and an OSD on a sparse file.

It starts in 5 s, as root or as anybody else, and has some 100 MiB of memory and 50 of disk. The
manager has three times as much and is begun by who needs it: without one, images come, go, grow
and are read and written, and only the figures of ``ceph df`` are missing.
"""

import contextlib
import json
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.ceph_text import CONFIGURATION, POOL, USER, keyring, new_keys
from tests.rings import require

__all__ = ["POOL", "PORT", "USER", "Ceph", "one_node_ceph"]

PORT = 6789
"""The monitor's own. On another, a client that is refused tries the other protocol for minutes."""

OSD_BYTES = 2 << 30
PATIENCE = 60.0
PACKAGES = {
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "ceph-mgr": "ceph-mgr",
    "rbd": "ceph-common",
}


@dataclass(kw_only=True)
class Ceph:
    """A cluster of a test's own; ``configuration`` is its ceph.conf, for programs of root's."""

    folder: Path
    host: str
    port: int = PORT
    fsid: str = field(default_factory=lambda: str(uuid4()))
    authentication: bool = True
    keys: dict[str, str] = field(default_factory=new_keys, repr=False)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def configuration(self) -> Path:
        return self.folder / "ceph.conf"

    @property
    def keyring(self) -> Path:
        """The keys of all its users."""
        return self.folder / "keyring"

    @property
    def key(self) -> str:
        """The user's."""
        return self.keys[f"client.{USER}"]

    def add(self, image: str, size: int) -> None:
        """Make an image in the pool."""
        self.rbd("create", f"{POOL}/{image}", "--size", f"{size}B")

    def resize(self, image: str, size: int) -> None:
        self.rbd("resize", f"{POOL}/{image}", "--size", f"{size}B", "--no-progress")

    def remove(self, image: str) -> None:
        self.rbd("rm", f"{POOL}/{image}", "--no-progress")

    def content(self, image: str) -> bytes:
        """Return what is in the image, to its last byte."""
        self.rbd("export", f"{POOL}/{image}", str(self.folder / "exported"), "--no-progress")
        try:
            return (self.folder / "exported").read_bytes()
        finally:
            (self.folder / "exported").unlink()

    def watchers(self, image: str) -> list[str]:
        """Return who has the image open, by address."""
        told = json.loads(self.rbd("status", f"{POOL}/{image}", "--format", "json"))
        return [watcher["address"] for watcher in told["watchers"]]

    def wait_for_no_watcher(self, image: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.watchers(image):
            assert time.monotonic() < deadline, self.watchers(image)
            time.sleep(0.1)

    def rbd(self, *words: str) -> str:
        """Run ``rbd`` as the cluster's administrator."""
        return self._run("rbd", *words)

    def ask(self, *words: str) -> Any:  # noqa: ANN401 - JSON has no narrower type
        """Ask the monitor as the cluster's administrator."""
        return json.loads(self._run("ceph", *words, "--format", "json") or "null")

    def start(self) -> None:
        """Return when the pool takes images."""
        self._write()
        self._make("ceph-mon", "a", "--monmap", str(self.folder / "monmap"))
        self._begin("ceph-mon", "a")
        self._make("ceph-osd", "0", "--osd-uuid", self.fsid)
        self._run("ceph", "osd", "new", self.fsid, "0")
        self._begin("ceph-osd", "0")
        self._run("ceph", "osd", "pool", "create", POOL)
        # It is answered once the OSD is up and has the pool.
        self.rbd("ls", POOL)

    def start_manager(self) -> None:
        """Return when the figures of ``ceph df`` are there; again is fine."""
        if (self.folder / "mgr").exists():
            return
        (self.folder / "mgr").mkdir()
        self._begin("ceph-mgr", "x")
        deadline = time.monotonic() + PATIENCE
        while not self.ask("df")["stats"]["total_bytes"]:
            assert time.monotonic() < deadline, self._said("ceph-mgr")
            time.sleep(0.1)

    def end(self) -> None:
        """End its processes; nothing of it is needed afterwards."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(PATIENCE)

    def _write(self) -> None:
        where = {"host": self.host, "port": self.port, "folder": self.folder}
        # Its own programs have keys in any case: without, they now and then speak to the monitor
        # before they know which cluster it is of, and are refused.
        service = "cephx" if self.authentication else "cephx, none"
        text = CONFIGURATION.format(fsid=self.fsid, size=OSD_BYTES, service=service, **where)
        self.configuration.write_text(text)
        self.keyring.touch(mode=0o600)
        self.keyring.write_text(keyring(self.keys))
        (self.folder / "osd").mkdir()
        address = f"[v1:{self.host}:{self.port}]"
        words = ["--create", "--fsid", self.fsid, "--addv", "a", address]
        _checked(["monmaptool", *words, str(self.folder / "monmap")])

    def _make(self, program: str, name: str, *words: str) -> None:
        self._run(program, "-i", name, "--mkfs", "--keyring", str(self.keyring), *words)

    def _begin(self, program: str, name: str) -> None:
        words = [program, "-c", str(self.configuration), "-i", name, "-f"]
        with (self.folder / f"{program}.out").open("wb") as log:
            begun = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(begun)

    def _run(self, program: str, *words: str) -> str:
        try:
            return _checked([program, "-c", str(self.configuration), *words])
        except subprocess.TimeoutExpired as error:
            said = "\n".join(self._said(name) for name in ("ceph-mon", "ceph-osd"))
            raise AssertionError(said) from error

    def _said(self, program: str) -> str:
        path = self.folder / f"{program}.out"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""


@contextlib.contextmanager
def one_node_ceph(*, authentication: bool = True) -> Iterator[Ceph]:
    """Lend a cluster that runs; nothing of it is left afterwards."""
    for program, package in PACKAGES.items():
        require(shutil.which(program) is not None, f"{program} (package {package})")
    folder = Path(tempfile.mkdtemp(prefix="bw-ceph-"))
    ceph = Ceph(folder=folder, host=_free_address(), authentication=authentication)
    try:
        ceph.start()
        yield ceph
    finally:
        ceph.end()
        shutil.rmtree(folder)


def _free_address() -> str:
    """Return an address of the loopback's at which nobody is a monitor."""
    draw = random.SystemRandom()
    while True:
        address = f"127.{draw.randint(1, 254)}.{draw.randint(1, 254)}.{draw.randint(1, 254)}"
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind((address, PORT))
            return address


def _checked(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout
