"""A folder of images beyond what every image service promises: who may write there may not read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.image_labs import FolderLab
from worker.errors import ImageNotFound, ImageRefused
from worker.model.ids import ImageId

IMAGE = ImageId("debian-12.0_a")


@pytest.fixture
def lab(tmp_path: Path) -> FolderLab:
    return FolderLab(tmp_path)


def put(lab: FolderLab, said: str) -> None:
    (lab.folder / IMAGE).write_bytes(b"disk" * 512)
    (lab.folder / f"{IMAGE}.json").write_text(said)


def test_a_format_is_all_that_must_be_said(lab: FolderLab) -> None:
    put(lab, '{"disk_format": "raw"}')
    shown = lab.images.show(IMAGE)
    assert (shown.name, shown.format, shown.size) == (IMAGE, "raw", 2048)
    assert (shown.min_disk, shown.min_memory, shown.checksum) == (0, 0, None)
    assert shown.properties == {}
    assert lab.images.fetch(IMAGE).virtual_size == 2048


def test_properties_are_told_as_text(lab: FolderLab) -> None:
    put(lab, '{"disk_format": "raw", "properties": {"hw_boot_menu": true, "n": 3}}')
    assert lab.images.show(IMAGE).properties == {"hw_boot_menu": "True", "n": "3"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("{", "no JSON"),
        ("[]", "must be an object"),
        ("{}", "disk_format is missing"),
        ('{"disk_format": "raw", "mindisk": 1}', "unknown: mindisk"),
        ('{"disk_format": ["raw"]}', "disk_format must be of type str"),
        ('{"disk_format": "raw", "min_disk": true}', "min_disk must be of type int"),
        ('{"disk_format": "raw", "min_disk": "1"}', "min_disk must be of type int"),
        ('{"disk_format": "raw", "os_hash_algo": "sha256"}', "go together"),
        ('{"disk_format": "raw", "os_hash_algo": "x", "os_hash_value": ""}', "unknown kind"),
    ],
)
def test_what_is_said_wrongly_is_refused_with_the_reason(
    lab: FolderLab, said: str, why: str
) -> None:
    put(lab, said)
    with pytest.raises(ImageRefused, match=why):
        lab.images.fetch(IMAGE)


@pytest.mark.parametrize("missing", [IMAGE, f"{IMAGE}.json"])
def test_one_of_two_files_is_no_image(lab: FolderLab, missing: str) -> None:
    put(lab, '{"disk_format": "raw"}')
    (lab.folder / missing).unlink()
    with pytest.raises(ImageNotFound, match=missing):
        lab.images.fetch(IMAGE)


@pytest.mark.parametrize("which", [IMAGE, f"{IMAGE}.json"])
def test_links_are_not_followed(lab: FolderLab, tmp_path: Path, which: str) -> None:
    put(lab, '{"disk_format": "raw"}')
    path = lab.folder / which
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageRefused, match="links are not followed"):
        lab.images.fetch(IMAGE)


@pytest.mark.parametrize("which", [IMAGE, f"{IMAGE}.json"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_and_not_waited_for(
    lab: FolderLab, which: str, make: Callable[[Path], None]
) -> None:
    put(lab, '{"disk_format": "raw"}')
    (lab.folder / which).unlink()
    make(lab.folder / which)
    with pytest.raises(ImageRefused, match="no regular file"):
        lab.images.fetch(IMAGE)


def test_nothing_outside_the_folder_is_an_image(lab: FolderLab, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"disk" * 512)
    (tmp_path / "elsewhere.json").write_text('{"disk_format": "raw"}')
    for ask in (lab.images.show, lab.images.fetch):
        with pytest.raises(ImageNotFound):
            ask(ImageId("../elsewhere"))
