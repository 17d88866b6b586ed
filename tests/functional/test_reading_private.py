"""What is read beside a private libvirtd when no worker runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests import guest_maker, require_hypervisor
from tests.processes import Served, configure
from worker.cmd.demo.guest_image import GuestImage
from worker.virt.libvirtd.private import PrivateLibvirtd
from worker.wiring import PRIVATE


@pytest.fixture
def private(tmp_path: Path) -> Iterator[PrivateLibvirtd]:
    require_hypervisor()
    found = PrivateLibvirtd(tmp_path / "state" / "libvirt")
    yield found
    found.stop()


@pytest.fixture
def served(private: PrivateLibvirtd, tmp_path: Path) -> Iterator[Served]:
    found = configure(tmp_path / "state", PRIVATE)
    private.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


def drift(served: Served) -> list[str]:
    found = json.loads(served.command("drift", "--json").stdout)
    return [str(each["why_not"]) for each in found["differences"]]


def test_drift_without_a_worker_reaches_the_private_libvirtd_or_says_that_it_is_not_up(
    private: PrivateLibvirtd, served: Served, guest_image: GuestImage, tmp_path: Path
) -> None:
    with guest_maker(private.start(), guest_image, tmp_path) as make:
        guest = make(booted=False)
        served.start()
        served.client.call("adopt_instance", domain=guest.uuid)
        served.kill()
        assert drift(served) == []
        private.stop()
        (why,) = drift(served)
        assert "the private libvirtd does not run" in why
        assert not private.running()
        listed = served.command("instance", "list", "--json")
        assert [each["uuid"] for each in json.loads(listed.stdout)] == [guest.uuid]
        private.start()
