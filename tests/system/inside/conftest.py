"""What the tests in the machine run on: fixtures of the hypervisor ring, in no hurry.

A libvirtd in a machine that is emulated takes its time to begin with.
"""

from collections.abc import Iterator

import pytest

from tests.guests import own_libvirtd as new_libvirtd
from tests.parts import guest_image, make_guest
from worker.virt.libvirtd import private

__all__ = ["guest_image", "make_guest"]


@pytest.fixture(scope="session")
def libvirtd() -> Iterator[str]:
    """The URI of a libvirtd, given more time to begin with than elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private, "_START_TIMEOUT", 120.0)
        with new_libvirtd() as found:
            yield found.start()
