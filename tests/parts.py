"""Fixtures of the hypervisor ring, for each conftest that imports them; `guests.py` makes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import guests
from worker.cmd.demo.guest_image import GuestImage


@pytest.fixture(scope="session")
def libvirtd() -> Iterator[str]:
    """The URI of a private libvirtd; nothing of it is left after the session."""
    with guests.private_libvirtd() as uri:
        yield uri


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
