"""Fixtures of the hypervisor ring, for each conftest that imports them; `guests.py` makes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import guests
from worker.cmd.demo.guest_image import GuestImage
from worker.virt.libvirtd.private import PrivateLibvirtd


@pytest.fixture(scope="session")
def own_libvirtd() -> Iterator[PrivateLibvirtd]:
    """A private libvirtd; nothing of it is left after the session."""
    with guests.own_libvirtd() as found:
        yield found


@pytest.fixture(scope="session")
def libvirtd(own_libvirtd: PrivateLibvirtd) -> str:
    """The URI of the session's libvirtd."""
    return own_libvirtd.start()


@pytest.fixture(autouse=True)
def living_libvirtd(request: pytest.FixtureRequest) -> None:
    """Start it again where it crashed, and say so: libvirt 9.0 does now and then.

    Without this all later tests would fail for what happened in one.
    """
    if "libvirtd" in request.fixturenames:
        found = request.getfixturevalue("own_libvirtd")
        if not found.running():
            request.node.warn(pytest.PytestWarning("the session's libvirtd had died"))
            found.start()


@pytest.fixture(scope="session")
def guest_image() -> GuestImage:
    """The small guest's kernel and initramfs."""
    return guests.cached_guest_image()


@pytest.fixture
def make_guest(
    libvirtd: str, guest_image: GuestImage, tmp_path: Path
) -> Iterator[guests.GuestMaker]:
    """Makes guests that are gone after the test."""
    with guests.guest_maker(libvirtd, guest_image, tmp_path) as maker:
        yield maker
