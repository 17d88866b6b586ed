"""The images there are, of a folder and of the fake that stands for one."""

import json
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from tests.fakes.images import FakeImageListing
from tests.fakes.world import World
from worker.errors import ImageNotFound, ImagesUnavailable
from worker.image.listing import FolderListing
from worker.model.ids import ImageId
from worker.model.image import Image
from worker.ports import ImageListing


class Shelf(ABC):
    """Somewhere that images can be put."""

    listing: ImageListing

    @abstractmethod
    def put(self, image: Image) -> None: ...

    @abstractmethod
    def take(self, image: Image) -> None: ...

    @abstractmethod
    def go_away(self) -> None: ...


class InWorld(Shelf):
    def __init__(self, _folder: Path) -> None:
        self.world = World()
        self.listing = FakeImageListing(self.world)

    def put(self, image: Image) -> None:
        self.world.images[image.id] = image

    def take(self, image: Image) -> None:
        del self.world.images[image.id]

    def go_away(self) -> None:
        self.world.images_away = True


class InFolder(Shelf):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listing = FolderListing(folder)

    def put(self, image: Image) -> None:
        (self.folder / image.id).write_bytes(b"x" * (image.size or 0))
        said = {"name": image.name, "disk_format": image.format, "min_disk": image.min_disk}
        (self.folder / f"{image.id}.json").write_text(
            json.dumps(said | {"properties": dict(image.properties)})
        )

    def take(self, image: Image) -> None:
        (self.folder / image.id).unlink()
        (self.folder / f"{image.id}.json").unlink()

    def go_away(self) -> None:
        self.folder.rename(self.folder.with_name("away"))


@pytest.fixture(params=[InWorld, InFolder])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    folder = tmp_path / "images"
    folder.mkdir()
    made: Shelf = request.param(folder)
    return made


def an_image(name: str, title: str) -> Image:
    return Image(
        id=ImageId(name), name=title, format="raw", size=512, min_disk=2, properties={"a": "b"}
    )


def test_images_are_listed_by_name_and_id_and_found(shelf: Shelf) -> None:
    assert shelf.listing.images() == ()
    images = [an_image("z", "one"), an_image("y", "two"), an_image("a", "two")]
    for image in images:
        shelf.put(image)
    assert shelf.listing.images() == (images[0], images[2], images[1])
    assert shelf.listing.find(ImageId("a")) == images[2]
    shelf.take(images[0])
    assert shelf.listing.images() == (images[2], images[1])
    with pytest.raises(ImageNotFound):
        shelf.listing.find(images[0].id)


def test_images_that_are_away_are_no_empty_list(shelf: Shelf) -> None:
    shelf.go_away()
    with pytest.raises(ImagesUnavailable):
        shelf.listing.images()
    with pytest.raises(ImagesUnavailable):
        shelf.listing.find(ImageId("a"))
