"""What ``Images`` promises: of a fake, of a folder, and of Glance."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.image_labs import MIB, ImageLab, image_lab
from worker.errors import ImageNotFound, ImageRefused, ImagesUnavailable, NoRoom
from worker.model.ids import ImageId, new_uuid
from worker.model.source import DiskFormat

CONTENT = b"disk" * (MIB // 4)


@pytest.fixture(params=["fake", "folder", "glance"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ImageLab]:
    with image_lab(request.param, tmp_path) as found:
        yield found


def test_an_image_is_shown_as_it_was_declared(lab: ImageLab) -> None:
    image = lab.give(CONTENT, "raw", hw_disk_bus="scsi", hw_vif_multiqueue_enabled="true")
    shown = lab.images.show(image)
    assert (shown.id, shown.name, shown.format) == (image, "an image", "raw")
    assert (shown.size, shown.min_disk, shown.min_memory) == (MIB, 1, 64)
    assert shown.checksum is not None
    assert shown.checksum[0] == "sha256"
    assert shown.properties["hw_disk_bus"] == "scsi"
    assert shown.properties["hw_vif_multiqueue_enabled"] == "true"


@pytest.mark.parametrize(
    "name",
    [new_uuid(), "../../etc/passwd", "a/b", ".hidden", ""],
    ids=["uuid", "up", "below", "hidden", "empty"],
)
def test_what_is_no_image_is_not_found(lab: ImageLab, name: str) -> None:
    with pytest.raises(ImageNotFound):
        lab.images.show(ImageId(name))
    with pytest.raises(ImageNotFound):
        lab.images.fetch(ImageId(name))


def test_a_fetched_image_says_what_is_in_it(lab: ImageLab) -> None:
    image = lab.give(CONTENT)
    file = lab.images.fetch(image)
    assert (file.id, file.format, file.virtual_size) == (image, DiskFormat.RAW, MIB)


def test_a_second_fetch_answers_the_same_file(lab: ImageLab) -> None:
    image = lab.give(CONTENT)
    assert lab.images.fetch(image) == lab.images.fetch(image)


def test_content_that_is_not_what_was_promised_is_refused(lab: ImageLab) -> None:
    image = lab.give(CONTENT)
    lab.spoil(image)
    with pytest.raises(ImageRefused):
        lab.images.fetch(image)


def test_a_service_that_is_away_is_named_as_such(lab: ImageLab) -> None:
    image = lab.give(CONTENT)
    lab.go_away()
    with pytest.raises(ImagesUnavailable):
        lab.images.show(image)
    with pytest.raises(ImagesUnavailable):
        lab.images.fetch(image)


def test_a_copy_serves_while_the_service_is_away(lab: ImageLab) -> None:
    image = lab.give(CONTENT)
    fetched = lab.images.fetch(image)
    lab.go_away()
    assert lab.images.fetch(image) == fetched


def test_an_image_that_was_withdrawn_is_not_found(lab: ImageLab) -> None:
    image = lab.give(CONTENT)
    lab.images.fetch(image)
    lab.withdraw(image)
    with pytest.raises(ImageNotFound):
        lab.images.fetch(image)


def test_an_image_that_does_not_fit_is_not_fetched(lab: ImageLab) -> None:
    image = lab.give(CONTENT)
    lab.fill_host()
    with pytest.raises(NoRoom):
        lab.images.fetch(image)


def test_a_copy_is_there_once_it_was_fetched_whoever_is_away(lab: ImageLab) -> None:
    image = lab.give(CONTENT)
    assert lab.images.copy(image) is None
    fetched = lab.images.fetch(image)
    assert fetched.digest
    lab.go_away()
    assert lab.images.copy(image) == fetched


def test_images_of_one_content_have_one_digest(lab: ImageLab) -> None:
    one, same, other = lab.give(CONTENT), lab.give(CONTENT), lab.give(CONTENT[::-1])
    digests = [lab.images.fetch(image).digest for image in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]
