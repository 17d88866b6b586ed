"""Images, local disks and config drives, without a file."""

from collections.abc import Mapping

from tests.fakes.world import World
from worker.errors import (
    ImageNotFound,
    ImageRefused,
    ImagesUnavailable,
    NoRoom,
    SpecificationInvalid,
)
from worker.model.ids import BlockDeviceId, ImageId, InstanceId
from worker.model.image import GIB, Image, ImageFile
from worker.model.source import DiskFormat, DiskOptions, FileSource, HostVolume
from worker.model.specification import LocalDisk
from worker.ports import ConfigDrives, ImageListing, Images, LocalDisks, ProjectImages


def disk_path(instance: InstanceId, disk: BlockDeviceId) -> str:
    return f"/local/{instance}/{disk}"


def copy_path(image: ImageId, cache: str = "/cache") -> str:
    return f"{cache}/{image}"


def drive_path(instance: InstanceId, *, rescue: bool = False) -> str:
    return f"/config-rescue/{instance}" if rescue else f"/config/{instance}"


class FakeImageListing(ImageListing):
    def __init__(self, world: World) -> None:
        self.world = world

    def images(self) -> tuple[Image, ...]:
        if self.world.images_away:
            message = "no images for now"
            raise ImagesUnavailable(message)
        found = self.world.images.values()
        return tuple(sorted(found, key=lambda image: (image.name, image.id)))

    def find(self, image: ImageId) -> Image:
        return FakeImages(self.world).show(image)


class FakeProjectImages(ProjectImages):
    """Everybody's are those of which ``owners`` does not tell; ``shared`` has pairs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.owners: dict[ImageId, str] = {}
        self.shared: set[tuple[ImageId, str | None]] = set()

    def find(self, image: ImageId, project: str | None) -> Image:
        owner = self.owners.get(image)
        if owner not in (None, project) and (image, project) not in self.shared:
            message = f"no image {image}"
            raise ImageNotFound(message)
        return FakeImages(self.world).show(image)


class FakeImages(Images):
    """An image whose property ``evil`` is set has a content that is refused."""

    def __init__(self, world: World) -> None:
        self.world = world

    def show(self, image: ImageId) -> Image:
        if self.world.images_away:
            message = "no images for now"
            raise ImagesUnavailable(message)
        try:
            return self.world.images[image]
        except KeyError as error:
            message = f"no image {image}"
            raise ImageNotFound(message) from error

    def fetch(self, image: ImageId) -> ImageFile:
        # A copy serves while the service is away.
        found = self.world.images[image] if self._copied_and_away(image) else self.show(image)
        if "evil" in found.properties:
            message = f"image {image} names another file"
            raise ImageRefused(message)
        if image not in self.world.cached and (found.size or 0) > self.world.room:
            message = f"{found.size} bytes do not fit"
            raise NoRoom(message)
        self.world.cached.add(image)
        return self._file(found)

    def copy(self, image: ImageId) -> ImageFile | None:
        return self._file(self.world.images[image]) if image in self.world.cached else None

    def _file(self, found: Image) -> ImageFile:
        image = found.id
        format_ = DiskFormat.QCOW2 if found.format == "qcow2" else DiskFormat.RAW
        size = int(found.properties.get("virtual_size", GIB))
        # The content, as far as it is known here.
        digest = found.properties.get("digest") or str(found.checksum or image)
        path = copy_path(image, self.world.cache)
        return ImageFile(id=image, path=path, format=format_, virtual_size=size, digest=digest)

    def _copied_and_away(self, image: ImageId) -> bool:
        return self.world.images_away and image in self.world.cached


class FakeLocalDisks(LocalDisks):
    def __init__(self, world: World) -> None:
        self.world = world

    def check_room(self, size: int) -> None:
        if size > self.world.room:
            message = f"{size} bytes do not fit"
            raise NoRoom(message)

    def create(self, instance: InstanceId, disk: LocalDisk, image: ImageFile | None) -> None:
        path = disk_path(instance, disk.uuid)
        if path in self.world.files:
            return
        self.check_room(disk.size)
        if image is not None and image.virtual_size > disk.size:
            message = f"image {image.id} is larger than the disk"
            raise SpecificationInvalid(message)
        self.world.files[path] = disk
        if image is not None and disk.format is DiskFormat.QCOW2:
            self.world.bases[path] = image.path

    def find(self, instance: InstanceId, disk: LocalDisk) -> HostVolume | None:
        path = disk_path(instance, disk.uuid)
        if path not in self.world.files:
            return None
        source = FileSource(path=path, format=disk.format)
        return HostVolume(source=source, options=DiskOptions(discard=disk.discard))

    def delete(self, instance: InstanceId, disk: BlockDeviceId) -> None:
        path = disk_path(instance, disk)
        self.world.check_not_open(path)
        self.world.files.pop(path, None)
        self.world.bases.pop(path, None)

    def folder(self, instance: InstanceId) -> str:
        return f"/local/{instance}"

    def base(self, instance: InstanceId, disk: LocalDisk) -> str | None:
        return self.world.bases.get(disk_path(instance, disk.uuid))

    def rebase(self, instance: InstanceId, disk: LocalDisk, base: FileSource) -> None:
        self.world.bases[disk_path(instance, disk.uuid)] = base.path

    def tidy(self, instance: InstanceId) -> None:
        if not any(path.startswith(f"{self.folder(instance)}/") for path in self.world.files):
            self.world.consoles.discard(instance)

    def console(self, instance: InstanceId) -> str:
        self.world.consoles.add(instance)
        return disk_path(instance, BlockDeviceId("console"))

    def clear(self, instance: InstanceId) -> None:
        self.world.consoles.discard(instance)


class FakeConfigDrives(ConfigDrives):
    def __init__(self, world: World) -> None:
        self.world = world

    def write(
        self, instance: InstanceId, files: Mapping[str, bytes], *, rescue: bool = False
    ) -> HostVolume:
        self._drives(rescue=rescue)[instance] = dict(files)
        return _drive(instance, rescue=rescue)

    def find(self, instance: InstanceId, *, rescue: bool = False) -> HostVolume | None:
        there = instance in self._drives(rescue=rescue)
        return _drive(instance, rescue=rescue) if there else None

    def delete(self, instance: InstanceId, *, rescue: bool = False) -> None:
        self.world.check_not_open(drive_path(instance, rescue=rescue))
        self._drives(rescue=rescue).pop(instance, None)

    def _drives(self, *, rescue: bool) -> dict[InstanceId, dict[str, bytes]]:
        return self.world.rescue_drives if rescue else self.world.config_drives


def _drive(instance: InstanceId, *, rescue: bool) -> HostVolume:
    source = FileSource(path=drive_path(instance, rescue=rescue))
    return HostVolume(source=source, options=DiskOptions(read_only=True))
