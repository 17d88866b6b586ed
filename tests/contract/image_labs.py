"""The image services on which the promises of ``Images`` are tried."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.contract.glance_server import Glance, served
from tests.fakes.images import FakeImages
from tests.fakes.world import World
from worker.image.cache import CachedImages, CacheSettings
from worker.image.folder import FolderImages
from worker.image.glance import GlanceImages, GlanceSettings
from worker.model.ids import ImageId, new_uuid
from worker.model.image import Image
from worker.ports import Images

MIB = 1 << 20
HUGE = 1 << 60


class ImageLab(ABC):
    """An image service, to which images can be given."""

    images: Images

    @abstractmethod
    def give(self, content: bytes, declared: str = "raw", **more: str) -> ImageId:
        """Give the service an image with the properties, and a checksum that is right."""

    @abstractmethod
    def spoil(self, image: ImageId) -> None:
        """Have the image's content be another than was promised."""

    @abstractmethod
    def go_away(self) -> None:
        """Let the service answer nothing."""

    @abstractmethod
    def withdraw(self, image: ImageId) -> None:
        """Delete the image at the service."""

    @abstractmethod
    def fill_host(self) -> None:
        """Leave no room on the host."""


class FakeLab(ImageLab):
    def __init__(self) -> None:
        self.world = World()
        self.images = FakeImages(self.world)

    def give(self, content: bytes, declared: str = "raw", **more: str) -> ImageId:
        image = ImageId(new_uuid())
        self.world.images[image] = Image(
            id=image,
            name="an image",
            format=declared,
            size=len(content),
            min_disk=1,
            min_memory=64,
            checksum=("sha256", hashlib.sha256(content).hexdigest()),
            properties={**more, "virtual_size": str(len(content))},
        )
        return image

    def spoil(self, image: ImageId) -> None:
        self.world.images[image].properties["evil"] = "yes"  # type: ignore[index]

    def go_away(self) -> None:
        self.world.images_away = True

    def withdraw(self, image: ImageId) -> None:
        del self.world.images[image]

    def fill_host(self) -> None:
        self.world.room = 0


class RealLab(ImageLab):
    """A source behind the cache; ``cached`` is the folder of copies."""

    def __init__(self, folder: Path) -> None:
        self.cached = folder / "cache"
        self.settings = CacheSettings(folder=self.cached)
        self.needed: set[ImageId] = set()

    def rebuild(self, **settings: float) -> CachedImages:
        """Make the adapter anew, as a restarted worker does."""
        made = CachedImages(
            self.source(),
            CacheSettings(folder=self.cached, **settings),  # type: ignore[arg-type]
            lambda: self.needed,
        )
        self.images = made
        return made

    @abstractmethod
    def source(self) -> FolderImages | GlanceImages:
        """Return the source, made anew."""

    def fill_host(self) -> None:
        self.rebuild(reserve=HUGE)


class FolderLab(RealLab):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder / "images"
        self.folder.mkdir()
        self.rebuild()

    def source(self) -> FolderImages:
        return FolderImages(self.folder)

    def give(self, content: bytes, declared: str = "raw", **more: str) -> ImageId:
        image = ImageId(new_uuid())
        (self.folder / image).write_bytes(content)
        self.say(image, disk_format=declared, properties=more, **hashes(content))
        return image

    def say(self, image: ImageId, **said: object) -> None:
        every = {"name": "an image", "min_disk": 1, "min_ram": 64, **said}
        (self.folder / f"{image}.json").write_text(json.dumps(every))

    def spoil(self, image: ImageId) -> None:
        path = self.folder / image
        path.write_bytes(path.read_bytes()[:-1] + b"!")

    def go_away(self) -> None:
        self.folder.rename(self.folder.with_name("elsewhere"))

    def withdraw(self, image: ImageId) -> None:
        (self.folder / image).unlink()


class GlanceLab(RealLab):
    def __init__(self, folder: Path, glance: Glance) -> None:
        super().__init__(folder)
        self.glance = glance
        self.rebuild()

    def source(self) -> GlanceImages:
        return GlanceImages(
            GlanceSettings(
                endpoint=self.glance.url, auth_type="none", auth={"endpoint": self.glance.url}
            )
        )

    def give(self, content: bytes, declared: str = "raw", **more: str) -> ImageId:
        image = ImageId(new_uuid())
        self.glance.contents[image] = content
        self.glance.images[image] = {
            "id": image,
            "name": "an image",
            "status": "active",
            "disk_format": declared,
            "container_format": "bare",
            "size": len(content),
            "min_disk": 1,
            "min_ram": 64,
            "checksum": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "visibility": "public",
            "tags": [],
            "self": f"/v2/images/{image}",
            **hashes(content),
            **more,
        }
        return image

    def spoil(self, image: ImageId) -> None:
        self.glance.contents[image] = self.glance.contents[image][:-1] + b"!"

    def go_away(self) -> None:
        self.glance.down = True

    def withdraw(self, image: ImageId) -> None:
        del self.glance.images[image]


def hashes(content: bytes) -> Mapping[str, str]:
    return {"os_hash_algo": "sha256", "os_hash_value": hashlib.sha256(content).hexdigest()}


@contextmanager
def image_lab(kind: str, folder: Path) -> Iterator[ImageLab]:
    if kind == "fake":
        yield FakeLab()
    elif kind == "folder":
        yield FolderLab(folder)
    else:
        with served() as glance:
            yield GlanceLab(folder, glance)
