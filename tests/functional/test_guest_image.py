"""The small guest: built without root, up in seconds, and a witness of its disks."""

import shutil
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.guests import BOTH, GuestMaker
from tests.rings import require
from worker.cmd.demo.guest_image import GuestImage, GuestImageUnavailable, build_guest_image

_SIZE = 8 * 1024 * 1024


def test_the_cache_answers_with_the_same_image(guest_image: GuestImage) -> None:
    cache = guest_image.kernel.parents[2]

    assert build_guest_image(cache) == guest_image


# It downloads.
@pytest.mark.timeout(300)
def test_builders_side_by_side_make_one_image(tmp_path: Path) -> None:
    require(shutil.which("apt-get") is not None, "apt-get")

    with ThreadPoolExecutor(max_workers=2) as pool:
        first, second = pool.map(build_guest_image, [tmp_path, tmp_path])

    assert first == second
    kept = tmp_path / "cloud-amd64"
    assert sorted(kept.iterdir()) == sorted([kept / ".lock", first.kernel.parent])
    assert first.initrd.stat().st_size > 0


def test_without_package_lists_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(shutil.which("apt-get") is not None, "apt-get")
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::State::lists "{tmp_path}/lists"; Dir::State::status "{tmp_path}/status";'
        f'Dir::Cache "{tmp_path}/cache";',
        encoding="utf-8",
    )
    (tmp_path / "status").write_text("", encoding="utf-8")
    monkeypatch.setenv("APT_CONFIG", str(config))

    with pytest.raises(GuestImageUnavailable, match="apt-get update"):
        build_guest_image(tmp_path / "guest")


def test_without_apt_debian_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(GuestImageUnavailable, match="apt-cache is missing"):
        build_guest_image(tmp_path / "guest")


@pytest.mark.parametrize(
    ("bus", "device", "shown"), [("virtio", "vda", 20), ("scsi", "sda", 36)], ids=["virtio", "scsi"]
)
def test_the_guest_reports_a_disk_that_comes_and_goes(
    make_guest: GuestMaker, tmp_path: Path, bus: str, device: str, shown: int
) -> None:
    guest = make_guest()
    volume = str(uuid.uuid4())

    guest.domain.attachDeviceFlags(_disk(tmp_path, volume, bus, device), BOTH)
    disks = guest.console.wait_for(lambda disks: device in disks, timeout=20)

    assert disks[device].size == _SIZE
    assert disks[device].serial == volume[:shown]
    guest.domain.detachDeviceAlias(f"ua-{volume}", BOTH)
    guest.wait_for_no_disk(device)
    assert guest.console.fresh(timeout=5) == {}


def test_the_guest_sees_the_disks_it_was_booted_with(
    make_guest: GuestMaker, tmp_path: Path
) -> None:
    volume = str(uuid.uuid4())

    guest = make_guest(extra_disks=[_disk(tmp_path, volume, "virtio", "vda")])

    assert guest.console.disks()["vda"].serial == volume[:20]


def test_the_power_button_stops_the_guest(make_guest: GuestMaker) -> None:
    guest = make_guest()

    guest.domain.shutdown()

    end = time.monotonic() + 20
    while guest.domain.isActive() and time.monotonic() < end:
        time.sleep(0.05)
    assert not guest.domain.isActive()


def _disk(folder: Path, volume: str, bus: str, device: str) -> str:
    file = folder / f"{volume}.raw"
    with file.open("wb") as opened:
        opened.truncate(_SIZE)
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        f"<source file='{file}'/><target dev='{device}' bus='{bus}'/>"
        f"<serial>{volume}</serial><alias name='ua-{volume}'/></disk>"
    )
