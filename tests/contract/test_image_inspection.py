"""What an attacker may upload is refused before QEMU or its tools see it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.contract import evil_images
from tests.contract.image_labs import MIB, FolderLab
from worker.errors import ImageRefused
from worker.image import inspection
from worker.image.inspection import check_whole, inspect
from worker.model.source import DiskFormat

NAMES = [f"{make.__name__}-as-{declared}" for make, declared, _ in evil_images.REFUSED]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image"


@pytest.mark.parametrize(("make", "declared", "why"), evil_images.REFUSED, ids=NAMES)
def test_an_evil_image_is_refused_and_nothing_kept_of_it(
    tmp_path: Path, make: evil_images.Make, declared: str, why: str
) -> None:
    lab = FolderLab(tmp_path)
    made = tmp_path / "made"
    make(made)
    image = lab.give(made.read_bytes(), declared)
    with pytest.raises(ImageRefused, match=why) as refused:
        lab.images.fetch(image)
    assert image in str(refused.value)
    left = {found.name for found in lab.cached.iterdir()}
    assert left == {"locks", "workers"}


@pytest.mark.parametrize(
    "make",
    [make for make, declared, why in evil_images.REFUSED if why != "damaged"],
    ids=[name for name in NAMES if name != "cut_in_the_data-as-qcow2"],
)
def test_no_program_is_run_on_an_evil_image(
    path: Path, make: evil_images.Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path)
    # A PATH without programs: had one been run, the error would be another.
    monkeypatch.setattr(inspection, "look", _nobody)
    for declared in ("qcow2", "raw", "iso", "vmdk", ""):
        if (make, declared) not in {(made, as_) for made, as_, _ in evil_images.REFUSED}:
            continue
        with pytest.raises(ImageRefused):
            inspect(path, declared)


def _nobody(*command: str, fine: tuple[int, ...] = (0,)) -> None:
    raise AssertionError(command)


def test_qemu_would_have_read_the_host_through_one(path: Path) -> None:
    """Else the tests above would prove nothing."""
    evil_images.with_backing_file(path)
    out = path.with_suffix(".out")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, out], check=True)
    assert out.read_bytes().startswith(Path(evil_images.SECRET).read_bytes()[:64])


@pytest.mark.parametrize("declared", ["raw", "aki", "ari", "ami"])
def test_plain_bytes_are_raw_by_any_of_its_names(path: Path, declared: str) -> None:
    path.write_bytes(os.urandom(4096))
    found = inspect(path, declared)
    assert (found.format, found.virtual_size) == (DiskFormat.RAW, 4096)


def test_a_kernel_with_a_boot_sector_is_raw(path: Path) -> None:
    content = bytearray(MIB)
    content[510:512] = b"\x55\xaa"
    path.write_bytes(content)
    assert inspect(path, "aki").format is DiskFormat.RAW


def test_a_plain_qcow2_of_either_version_is_taken(path: Path) -> None:
    for compat in ("0.10", "1.1"):
        evil_images.qcow2(path, "-o", f"compat={compat}")
        found = inspect(path, "qcow2")
        check_whole(path, found)
        assert (found.format, found.virtual_size) == (DiskFormat.QCOW2, MIB)


def test_an_iso_is_a_raw_disk_also_with_a_boot_sector(path: Path) -> None:
    evil_images.iso(path)
    assert inspect(path, "iso").format is DiskFormat.RAW
    with path.open("r+b") as file:
        file.seek(510)
        file.write(b"\x55\xaa")
    assert inspect(path, "iso").virtual_size == MIB


def test_a_disk_with_partitions_is_raw_and_no_iso(path: Path) -> None:
    content = bytearray(MIB)
    content[510:512] = b"\x55\xaa"
    path.write_bytes(content)
    assert inspect(path, "raw").format is DiskFormat.RAW
    with pytest.raises(ImageRefused):
        inspect(path, "iso")


def test_text_that_trips_the_parser_is_refused_and_no_crash(path: Path) -> None:
    path.write_bytes(b"text " * 200 + b"\xff" * 4096)
    with pytest.raises(ImageRefused, match="cannot be told"):
        inspect(path, "raw")


def test_a_leak_in_a_qcow2_is_no_damage(path: Path) -> None:
    evil_images.qcow2(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        # The third cluster's count, raised: nobody uses it, and nothing is lost.
        file.seek(2 * 65536 + 2 * (size // 65536 + 1))
        file.write(b"\0\1")
        file.truncate((size // 65536 + 3) * 65536)
    done = subprocess.run(["qemu-img", "check", "-f", "qcow2", path], check=False)
    assert done.returncode == 3
    check_whole(path, inspect(path, "qcow2"))


def test_a_copy_is_for_its_owner_alone(tmp_path: Path) -> None:
    lab = FolderLab(tmp_path)
    file = Path(lab.images.fetch(lab.give(b"disk" * 512)).path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
