"""Runs `openstack` and `nova` as their users do, without their start: a process that forks.

Each line on stdin is a command and what is added to its environment, as JSON; each line on stdout
what became of it. Every command has a process of its own: none sees what another has set up.
"""

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

import novaclient.shell
import openstackclient.shell

# What the commands import as they begin is imported once.
for _part in (
    "openstack.block_storage.v3._proxy",
    "openstack.compute.v2._proxy",
    "openstack.identity.v3._proxy",
    "openstack.image.v2._proxy",
    "openstackclient.compute.v2.server",
):
    importlib.import_module(_part)

PROGRAMS: dict[str, Callable[[list[str]], Any]] = {
    "openstack": openstackclient.shell.main,
    "nova": novaclient.shell.main,
}


def run(words: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run one command in a process of its own; return its exit status and what it wrote."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        child = os.fork()
        if not child:
            os.environ.update(environment)
            _be(words, said, complained)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        complained.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "out": said.read().decode(),
            "err": complained.read().decode(),
        }


def _be(words: Sequence[str], said: IO[bytes], complained: IO[bytes]) -> None:
    os.dup2(said.fileno(), 1)
    os.dup2(complained.fileno(), 2)
    program, *arguments = words
    status = 1
    try:
        sys.argv = list(words)
        status = int(PROGRAMS[program](arguments) or 0)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        print(json.dumps(run(*json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
