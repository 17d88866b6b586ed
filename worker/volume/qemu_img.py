"""QEMU's own tool, asked by QEMU's own drivers what is behind an address.

A secret reaches it through a file descriptor: a command line is read by everybody on the host.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from worker.errors import ConnectFailed
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.secret import Secret

LOGIN = "login"
"""The name under which a driver's options find the secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A secret as QEMU's secret object takes it; ``base64`` is how its text is written."""

    secret: Secret
    base64: bool = False


def login_of(secrets: Iterable[GuestSecret]) -> Login | None:
    """Return what logs in at the storage, of the secrets that a volume is opened with."""
    for secret in secrets:
        if secret.use is not SecretUse.VOLUME:
            return Login(secret=secret.value, base64=secret.use is SecretUse.CEPH)
    return None


def virtual_size(
    name: str, options: Mapping[str, object], login: Login | None = None, *, timeout: float
) -> int:
    """Return how many bytes are behind the options of one of QEMU's block drivers.

    They name the driver, so that nothing is guessed from what the content's first bytes say. Not
    answered within ``timeout`` seconds, refused, or without the tool: ConnectFailed, by ``name``.
    """
    failed = f"cannot read the size of {name} with qemu-img"
    try:
        told = _told(options, login, timeout)
        return int(json.loads(told)["virtual-size"])
    except subprocess.CalledProcessError as error:
        # The cause has the command, and that no secret.
        raise ConnectFailed(f"{failed}: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise ConnectFailed(f"{failed}: no answer within {timeout:g} s") from error
    except (OSError, ValueError, KeyError) as error:
        raise ConnectFailed(f"{failed}: {error!r}") from error


def _told(options: Mapping[str, object], login: Login | None, timeout: float) -> str:
    image = ",".join(f"{name}={_escaped(value)}" for name, value in options.items())
    with handed_over(login) as (words, descriptors):
        return subprocess.run(
            ["qemu-img", "info", "--output=json", *words, "--image-opts", image],
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            pass_fds=descriptors,
        ).stdout


@contextmanager
def handed_over(login: Login | None) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Lend the words that name the secret object, and the descriptor that it is read from."""
    if login is None:
        yield [], ()
        return
    descriptor = os.memfd_create(LOGIN, os.MFD_CLOEXEC)
    try:
        os.write(descriptor, login.secret.reveal().encode())
        written = "base64" if login.base64 else "raw"
        said = f"secret,id={LOGIN},file=/dev/fd/{descriptor},format={written}"
        yield ["--object", said], (descriptor,)
    finally:
        os.close(descriptor)


def _escaped(value: object) -> str:
    """A comma within a value is doubled (qemu's option syntax)."""
    return str(value).replace(",", ",,")
