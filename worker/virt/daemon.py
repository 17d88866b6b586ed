"""How the libvirtd behind a connection ended: with a clean stop, or not.

A libvirtd (or virtqemud) removes its pid file as the last thing of a clean stop. One that is
killed, crashes, or gives up waiting for a call leaves the file, and its successor writes its own
number into the same one. So whoever holds the file open can tell later, at any time: it has no name
any more, and the number in it is still the old one.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_NAMES = ("libvirtd", "virtqemud")
_ENOUGH = 32
"""Bytes, more than any pid has."""

_START_TIME = 19
"""Where /proc/PID/stat has the process's start, counted behind its name: see proc(5)."""

_DEAD = frozenset("ZXx")
"""Its states of a process that nobody has buried yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PidFile:
    descriptor: int
    pid: int
    started: str

    @property
    def explains(self) -> bool:
        """Whether the daemon stopped cleanly, or has not stopped at all."""
        removed = os.fstat(self.descriptor).st_nlink == 0
        stopped = removed and _pid_in(self.descriptor) == self.pid
        return stopped or _start_of(self.pid) == self.started


class Daemon:
    """The libvirtd that answers at a URI now, remembered for the time when it does not."""

    def __init__(self, uri: str) -> None:
        """Find its pid file: of a daemon on this host, at its usual place or near its socket."""
        self._files = tuple(_pid_files(uri))

    def may_have_died(self) -> bool:
        """Tell whether no clean stop explains that it does not answer any more.

        To be asked when its successor answers. Where nothing is known of it (another host, another
        namespace, a file that we may not read), it may have.
        """
        return not self._files or not all(file.explains for file in self._files)

    def close(self) -> None:
        """Let go of what was remembered."""
        files, self._files = self._files, ()
        for file in files:
            os.close(file.descriptor)


def _pid_files(uri: str) -> Iterator[_PidFile]:
    for folder in _folders(uri):
        for name in _NAMES:
            with suppress(OSError):
                descriptor = os.open(folder / f"{name}.pid", os.O_RDONLY)
                found = _read(descriptor, name)
                if found is None:
                    os.close(descriptor)
                else:
                    yield found


def _folders(uri: str) -> tuple[Path, ...]:
    parts = urlsplit(uri)
    if parts.netloc:
        return ()
    named = parse_qs(parts.query).get("socket")
    if named:
        return tuple(Path(named[0]).parents[:3])
    if parts.path == "/session":
        return (Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"), "libvirt"),)
    return (Path("/run"),)


def _read(descriptor: int, name: str) -> _PidFile | None:
    """Return the file if a daemon of that name lives behind it, None for a stale one."""
    pid = _pid_in(descriptor)
    started = None if pid is None else _start_of(pid)
    if pid is None or started is None or _name_of(pid) != name:
        return None
    return _PidFile(descriptor=descriptor, pid=pid, started=started)


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, _ENOUGH, 0).strip()
    return int(text) if text.isdigit() else None


def _name_of(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _start_of(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in _DEAD else fields[_START_TIME]
