"""A libvirtd of our own: the hypervisor of the built-in default.

It lives under a state folder, beside a libvirtd of the system and unseen by it. It is a daemon and
no child of the worker: it and its guests outlive the worker, however that ends.
"""

import fcntl
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import libvirt

from worker.errors import HypervisorUnavailable
from worker.virt.libvirtd.private_config import LIBVIRTD_CONF, MOUNTS, QEMU_CONF, QEMU_CONF_ROOT
from worker.virt.libvirtd.shortcut import Shortcut

# Daemons are often installed where an ordinary user's PATH does not look.
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

# A unix socket's path holds 107 bytes. As root only the client's socket lies under the state
# folder; as a user QEMU's monitor does as well, and deeper.
_SOCKET = Path("run/libvirt/libvirt-sock")
_MONITOR = Path("config/libvirt/qemu/lib/domain-1000000-12345678901234567890/monitor.sock")
_SOCKET_LIMIT = 107

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 35.0
"""Seconds: libvirtd waits 30 for calls that it carries out, then it gives up by itself."""

_DYING_TIMEOUT = 2.0
_POLL = 0.02
_LOG_LINES = 5


class PrivateLibvirtd:
    """The libvirtd that lives under the folder ``state``.

    Any process that names the same folder means the same daemon: it is known by its pid file and
    its command line, never by who started it.
    """

    def __init__(self, state: Path, *, search_path: str = _SEARCH_PATH) -> None:
        self._state = state.resolve()
        self._search_path = search_path
        self._pid_file = self._state / "libvirtd.pid"
        self._log = self._state / "log" / "libvirtd.log"
        self._shortcut = Shortcut(self._state, self._state / "shortcut")
        self._root = os.geteuid() == 0

    def start(self) -> str:
        """Make sure that the daemon runs and answers; return the URI for libvirt clients.

        Needs no environment variable in the calling process. Raises ``HypervisorUnavailable`` that
        names what is missing, or what the daemon said last.
        """
        self._prepare()
        with self._lock():
            uri = self._uri()
            if not self._answers_already(uri):
                self._write_config()
                self._launch()
                try:
                    self._wait_until_it_answers(uri)
                except HypervisorUnavailable:
                    self._end()
                    raise
            return uri

    def uri(self) -> str:
        """Return the URI by which clients reach the daemon when it runs; starts nothing."""
        return self._uri()

    def running(self) -> bool:
        """Whether the daemon is alive; says nothing of its guests."""
        return self._pid() is not None

    def stop(self) -> None:
        """End the daemon, and with it its mounts once no guest is left; guests are not touched.

        It is fine if it does not run. Guests that still run are found again by the next start.
        """
        if not self._state.is_dir():
            return
        with self._lock():
            self._end()
            self._shortcut.remove()

    def _answers_already(self, uri: str) -> bool:
        if self._pid() is None:
            return False
        try:
            self._wait_until_it_answers(uri)
        except HypervisorUnavailable:
            # One killed a moment ago still looked alive. To end one that hangs is for an operator.
            if not _wait(lambda: self._pid() is None, _DYING_TIMEOUT):
                raise
            return False
        return True

    def _prepare(self) -> None:
        try:
            for name in ("config", "run", "lib", "cache", "data", "log"):
                (self._state / name / "libvirt").mkdir(parents=True, exist_ok=True)
            self._state.chmod(0o700)
            (self._state / "run").chmod(0o700)
        except OSError as error:
            message = f"the hypervisor's state folder {self._state} cannot be used: {error}"
            raise HypervisorUnavailable(message) from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self._state / "libvirtd.lock").open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write_config(self) -> None:
        folder = self._state / "config" / "libvirt"
        qemu = QEMU_CONF + QEMU_CONF_ROOT if self._root else QEMU_CONF
        (folder / "qemu.conf").write_text(qemu, encoding="utf-8")
        log = f'log_outputs = "3:file:{self._log}"\n'
        (folder / "libvirtd.conf").write_text(LIBVIRTD_CONF + log, encoding="utf-8")

    def _launch(self) -> None:
        try:
            done = subprocess.run(
                self._command(),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_START_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._end()
            message = f"the private libvirtd did not start: {error}{self._last_words()}"
            raise HypervisorUnavailable(message) from error
        if done.returncode != 0:
            said = done.stderr.strip()
            message = f"the private libvirtd did not start: {said}{self._last_words()}"
            raise HypervisorUnavailable(message)

    def _command(self) -> list[str]:
        self._need_qemu()
        config = self._state / "config" / "libvirt" / "libvirtd.conf"
        # "--daemon" returns once the daemon has its pid file and socket, and leaves us no child.
        daemon = [self._need("libvirtd", "libvirt-daemon-system and libvirt-daemon-driver-qemu")]
        daemon += ["--daemon", "--config", str(config), "--pid-file", str(self._pid_file)]
        if not self._root:
            return daemon
        unshare = [self._need("unshare", "util-linux"), "--mount", "--propagation", "slave"]
        return [*unshare, "sh", "-c", MOUNTS, "mounts", str(self._state), *daemon]

    def _environment(self) -> dict[str, str]:
        # Nothing else is handed on: with the address of the session's D-Bus, a user's libvirtd
        # would save and stop all guests at log-out. English messages are what adapters compare.
        environment = {"PATH": self._search_path, "HOME": str(Path.home()), "LC_ALL": "C"}
        if not self._root:
            base = self._base(_MONITOR)
            environment["XDG_RUNTIME_DIR"] = str(base / "run")
            environment["XDG_CONFIG_HOME"] = str(base / "config")
            environment["XDG_CACHE_HOME"] = str(base / "cache")
            environment["XDG_DATA_HOME"] = str(base / "data")
        return environment

    def _base(self, deepest: Path) -> Path:
        fits = len(os.fsencode(self._state / deepest)) <= _SOCKET_LIMIT
        return self._state if fits else self._shortcut.path()

    def _uri(self) -> str:
        path = self._base(_SOCKET if self._root else _MONITOR) / _SOCKET
        kind = "system" if self._root else "session"
        return f"qemu+unix:///{kind}?socket={quote(str(path))}"

    def _wait_until_it_answers(self, uri: str) -> None:
        # libvirt prints its errors to stderr; knocking first keeps it quiet while the daemon wakes.
        if not _wait(lambda: self._pid() is None or self._listens(), _START_TIMEOUT):
            message = f"the private libvirtd does not listen{self._last_words()}"
            raise HypervisorUnavailable(message)
        try:
            libvirt.open(uri).close()
        except libvirt.libvirtError as error:
            message = f"the private libvirtd does not answer: {error}{self._last_words()}"
            raise HypervisorUnavailable(message) from error

    def _listens(self) -> bool:
        path = self._base(_SOCKET if self._root else _MONITOR) / _SOCKET
        with socket.socket(socket.AF_UNIX) as knock:
            return knock.connect_ex(str(path)) == 0

    def _pid(self) -> int | None:
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        # The number alone may be another process by now; a zombie has no command line at all.
        return pid if os.fsencode(self._pid_file) in arguments else None

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid = self._pid()
            if pid is not None:
                os.kill(pid, number)
                _wait(lambda: self._pid() is None, _STOP_TIMEOUT)
        # The pid file is not for us to remove: one that stays says of a daemon that it was killed.

    def _last_words(self) -> str:
        if not self._log.exists():
            return ""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return "".join(f"\n  {line}" for line in (f"last in {self._log}:", *lines))

    def _need(self, program: str, packages: str) -> str:
        found = shutil.which(program, path=self._search_path)
        if found is None:
            message = f"{program} is not installed (Debian packages: {packages})"
            raise HypervisorUnavailable(message)
        return found

    def _need_qemu(self) -> None:
        machine = platform.machine()
        names = (f"qemu-system-{machine}", "qemu-kvm", "/usr/libexec/qemu-kvm")
        if not any(shutil.which(name, path=self._search_path) for name in names):
            message = f"qemu-system-{machine} is not installed (Debian package: qemu-system-x86)"
            raise HypervisorUnavailable(message)


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL)
    return True
