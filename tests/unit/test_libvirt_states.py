"""What libvirt says of a domain, in our words."""

import libvirt
import pytest

from worker.model.instance import VmState
from worker.virt.guests import state_of


@pytest.mark.parametrize(
    ("state", "reason", "word"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, VmState.ACTIVE),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, VmState.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, VmState.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, VmState.ACTIVE),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, VmState.STOPPED),
    ],
)
def test_one_that_is_being_started_is_not_paused(state: int, reason: int, word: VmState) -> None:
    """A start whose worker dies goes on in libvirt; whoever takes it up finds it half way."""
    assert state_of(state, reason) is word
