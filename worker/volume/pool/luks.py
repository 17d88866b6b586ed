"""The content of the pool's encrypted volumes: a header of LUKS, made for a key of the pool's own.

Version 1 (https://gitlab.com/cryptsetup/LUKS-standard): a header with key slots, then what a guest
sees; how much that is, the header does not say, so it fits a volume of any size.
"""

import os
import subprocess
from pathlib import Path
from typing import BinaryIO

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from worker.errors import EncryptionUnsupported, RequestMalformed, VolumeServiceUnavailable
from worker.model.ids import KeyId, VolumeId
from worker.model.secret import Secret
from worker.volume.keys.files import KeyFiles
from worker.volume.pool import files
from worker.volume.qemu_img import LOGIN, Login, handed_over

MAGIC = b"LUKS\xba\xbe"
LEAST = 4 << 20
"""Bytes that an encrypted volume has at the least: the header takes two MiB."""

_MILLISECONDS = 500
"""How long a passphrase is made to take; ours are random and would need none of it."""

_PATIENCE = 600.0
_TRIES = 20
_PAUSE = 0.05


def pool_key(volume: VolumeId) -> KeyId:
    """Return what the key of a volume that the pool has made is called."""
    return KeyId(f"pool-{volume}")


class LuksContent:
    """Formats what the pool has just made, and nothing else; ``keys`` has what opens it.

    None is for a key manager in which the pool makes no keys.
    """

    def __init__(self, keys: KeyFiles | None) -> None:
        self._keys = keys

    def check(self, size: int) -> None:
        """Raise EncryptionUnsupported, RequestMalformed for what could not be made."""
        if self._keys is None:
            raise EncryptionUnsupported(
                "the pool makes encrypted volumes where [volume] keys = files; give it a file that"
                " is LUKS already"
            )
        if size < LEAST:
            raise RequestMalformed(f"an encrypted volume has at least {LEAST} bytes")

    def write(self, volume: VolumeId, path: Path) -> None:
        """Write the header into the blank file; one that has it keeps it.

        Its first bytes come last: until then it is none, and is written again. Raises
        VolumeServiceUnavailable, EncryptionUnsupported.
        """
        if self._keys is None:
            raise EncryptionUnsupported(f"the pool has no key for volume {volume}")
        try:
            with path.open("r+b") as file:
                if file.read(len(MAGIC)) == MAGIC:
                    return
                secret = self._keys.make(pool_key(volume))
                header = make_header(files.unfinished(path), secret)
                _put(file, len(MAGIC), header[len(MAGIC) :])
                _begin(file, header)
        except OSError as error:
            raise VolumeServiceUnavailable(f"{path} cannot be formatted: {error}") from error

    def forget(self, volume: VolumeId) -> None:
        """Remove the key, without which the content is lost for good; none there is fine."""
        if self._keys is not None:
            self._keys.remove(pool_key(volume))


def _begin(file: BinaryIO, header: bytes) -> None:
    """Write what tells a header; from here it is one."""
    _put(file, 0, header[: len(MAGIC)])


def _put(file: BinaryIO, at: int, what: bytes) -> None:
    file.seek(at)
    file.write(what)
    file.flush()
    os.fsync(file.fileno())


class _TooCoarse(Exception):
    """QEMU could not measure how fast it derives keys."""


def make_header(place: Path, secret: Secret) -> bytes:
    """Have QEMU make an empty volume in that place, and return it: all of that is header.

    Raises VolumeServiceUnavailable. Nothing is left in the place.
    """
    try:
        Retrying(
            retry=retry_if_exception_type(_TooCoarse),
            stop=stop_after_attempt(_TRIES),
            wait=wait_fixed(_PAUSE),
            reraise=True,
        )(_create, place, secret)
        return place.read_bytes()
    except (_TooCoarse, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise VolumeServiceUnavailable(f"qemu-img makes no LUKS: {said.strip()}") from error
    finally:
        place.unlink(missing_ok=True)


def _create(place: Path, secret: Secret) -> None:
    options = f"key-secret={LOGIN},iter-time={_MILLISECONDS}"
    with handed_over(Login(secret=secret)) as (words, descriptors):
        done = subprocess.run(
            ["qemu-img", "create", "-q", "-f", "luks", *words, "-o", options, str(place), "0"],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE,
            pass_fds=descriptors,
        )
    if "accurate CPU usage" in done.stderr:
        raise _TooCoarse(done.stderr)
    done.check_returncode()
