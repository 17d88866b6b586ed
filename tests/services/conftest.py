"""What this ring runs on, and how it ends."""

import os
import sys
from collections.abc import Iterator

import pytest

from tests.ceph import Ceph, one_node_ceph
from tests.parts import guest_image, libvirtd, living_libvirtd, make_guest, own_libvirtd

__all__ = ["guest_image", "libvirtd", "living_libvirtd", "make_guest", "own_libvirtd"]

STATUS = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """A cluster of the session's own, with authentication."""
    with one_node_ceph() as found:
        yield found


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep how the run went."""
    session.config.stash[STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave at once: Python would wait for threads of oslo.messaging.

    They try for ever to answer on the brokers that this ring has killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(config.stash.get(STATUS, 0))
