"""Encrypted files, as others than the pool make them."""

import shutil
import subprocess
from pathlib import Path

from tests.rings import require

TRIES = 20
"""QEMU measures how fast it derives keys, and gives up where its clock is too coarse."""


def encrypt(path: Path, passphrase: str, size: int) -> None:
    """Make a LUKS file in which a guest sees ``size`` bytes."""
    require(shutil.which("qemu-img") is not None, "qemu-img (package qemu-utils)")
    key = path.with_name(f"{path.name}.key")
    key.write_text(passphrase)
    secret = ["--object", f"secret,id=k,file={key}", "-o", "key-secret=k,iter-time=10"]
    command = ["qemu-img", "create", "-q", "-f", "luks", *secret, str(path), str(size)]
    for _try in range(TRIES):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "accurate CPU usage" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
