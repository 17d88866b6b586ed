"""Programs that make and read disks, kept within bounds."""

import errno
import os
import subprocess
from pathlib import Path

from oslo_concurrency.processutils import ProcessExecutionError, ProcessLimits, execute

from worker.errors import DiskFailed, NoRoom

MEMORY = 1 << 30
LOOK_SECONDS = 60
MAKE_SECONDS = 1800
"""Processor time; a file that was made to confuse a program costs no more than that."""

PATIENCE = 2
"""How much longer than its processor time a program may take in all."""

_LINES = 3

# As an ordinary user they are not in PATH everywhere.
_SYSTEM_FOLDERS = "/usr/sbin:/sbin"


class ProgramFailed(Exception):
    """The program ended badly; the message is its own words."""


def look(*command: str, fine: tuple[int, ...] = (0,)) -> None:
    """Run a program that reads; raises ProgramFailed unless its exit status is a ``fine`` one."""
    _run(command, LOOK_SECONDS, fine)


def make(path: Path, *command: str) -> None:
    """Run a program that makes the file; raises NoRoom, DiskFailed."""
    try:
        _run(command, MAKE_SECONDS, (0,))
    except ProgramFailed as error:
        kind = NoRoom if os.strerror(errno.ENOSPC) in str(error) else DiskFailed
        raise kind(f"{path} cannot be made: {error}") from error


def _run(command: tuple[str, ...], seconds: int, fine: tuple[int, ...]) -> None:
    started: list[subprocess.Popen[bytes]] = []
    try:
        execute(
            *command,
            check_exit_code=fine,
            prlimit=ProcessLimits(address_space=MEMORY, cpu_time=seconds, core_file_size=0),
            timeout=seconds * PATIENCE,
            env_variables=_environment(),
            on_execute=started.append,
        )
    except ProcessExecutionError as error:
        raise ProgramFailed(f"{command[0]}: {_words(error)}") from error
    except subprocess.TimeoutExpired as error:
        with started[0] as program:
            program.kill()
        raise ProgramFailed(f"{command[0]} did not end in {error.timeout:.0f} s") from error


def _environment() -> dict[str, str]:
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{path}:{_SYSTEM_FOLDERS}", "LC_ALL": "C"}


def _words(error: ProcessExecutionError) -> str:
    said = (error.stderr or error.stdout or "").strip()
    # mkfs begins with its version, qemu-img check may print a line for each cluster.
    return "; ".join(said.splitlines()[-_LINES:]) if said else f"exit status {error.exit_code}"
