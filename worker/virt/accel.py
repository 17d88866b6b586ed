"""Which kind of virtualisation the guests that we make ourselves run under."""

import os
from collections.abc import Mapping
from typing import Literal

from worker.errors import HypervisorUnavailable

_DEVICE = "/dev/kvm"


def domain_type(environ: Mapping[str, str] = os.environ) -> Literal["kvm", "qemu"]:
    """Say ``qemu`` (emulation, runs everywhere), or ``kvm`` if ``BLOCKWORKER_KVM=1`` asks for it.

    Nothing is guessed: on some machines ``/dev/kvm`` opens and runs a boot sector, and yet no
    kernel ever comes up, so that only a booted guest would be a proof. Emulation boots ours in a
    few seconds. A KVM that is asked for and missing is ``HypervisorUnavailable``.
    """
    if environ.get("BLOCKWORKER_KVM", "0") in {"", "0"}:
        return "qemu"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        message = f"BLOCKWORKER_KVM is set, but {_DEVICE} is missing or closed to this user"
        raise HypervisorUnavailable(message)
    return "kvm"
