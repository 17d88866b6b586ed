"""Disks that are files of this host: ``<instance>/<row>`` in a folder."""

from contextlib import suppress
from pathlib import Path

from worker.errors import SpecificationInvalid
from worker.image.bases import base_of
from worker.image.files import (
    PRIVATE_FILE,
    appearing,
    check_room,
    filesystem,
    is_plain,
    make_folder,
    remove,
)
from worker.image.filesystems import MAKERS, make_filesystem
from worker.image.programs import make
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.image import ImageFile
from worker.model.source import DiskFormat, DiskOptions, FileSource, HostVolume
from worker.model.specification import LocalDisk
from worker.ports import LocalDisks

SECTOR = 512
CONSOLE = "console.log"


class FileLocalDisks(LocalDisks):
    """A folder an instance, a file a disk; ``reserve`` is in bytes."""

    def __init__(self, folder: Path, *, reserve: int = 0) -> None:
        self._folder = folder
        self._reserve = reserve

    def check_room(self, size: int) -> None:
        """Raise NoRoom unless that many bytes more fit on the host."""
        with filesystem(self._folder):
            check_room(self._folder, size, self._reserve)

    def create(self, instance: InstanceId, disk: LocalDisk, image: ImageFile | None) -> None:
        """Make the disk's file, of the image or blank; raises DiskFailed, too."""
        path = self._path(instance, disk.uuid)
        with filesystem(path):
            if path.exists():
                return
            _check(disk, image)
            check_room(self._folder, disk.size, self._reserve)
            with appearing(path) as temporary:
                _make(temporary, disk, image)

    def find(self, instance: InstanceId, disk: LocalDisk) -> HostVolume | None:
        """Return where the disk is, None where it is not."""
        path = self._path(instance, disk.uuid)
        with filesystem(path):
            if not path.exists():
                return None
        source = FileSource(path=str(path), format=disk.format)
        return HostVolume(source=source, options=DiskOptions(discard=disk.discard))

    def delete(self, instance: InstanceId, disk: BlockDeviceId) -> None:
        """Delete the disk's file, and the instance's folder with the last file in it."""
        path = self._path(instance, disk)
        with filesystem(path):
            remove(path)

    def folder(self, instance: InstanceId) -> str:
        """Return where the instance's files are, or would be."""
        return str(self._path(instance, CONSOLE).parent)

    def base(self, instance: InstanceId, disk: LocalDisk) -> str | None:
        """Return the file that the disk says it is made over, None for none."""
        path = self._path(instance, disk.uuid)
        # A raw disk's content is its guest's, and may begin as another format does.
        if disk.format is not DiskFormat.QCOW2:
            return None
        with filesystem(path):
            found = base_of(path)
        return None if found is None else str(found)

    def rebase(self, instance: InstanceId, disk: LocalDisk, base: FileSource) -> None:
        """Have the disk say that it is made over that file; raises DiskFailed."""
        path = self._path(instance, disk.uuid)
        onto = ("-F", base.format.value, "-b", base.path)
        # Unsafe is what qemu-img calls it to take our word that the content is the same.
        make(path, "qemu-img", "rebase", "-q", "-u", "-f", "qcow2", *onto, str(path))

    def tidy(self, instance: InstanceId) -> None:
        """Remove the instance's folder if nothing is in it."""
        with suppress(OSError):
            Path(self.folder(instance)).rmdir()

    def console(self, instance: InstanceId) -> str:
        """Return the file that the guest's console may be written to, in a folder that is there."""
        path = self._path(instance, CONSOLE)
        with filesystem(path):
            make_folder(path.parent)
        return str(path)

    def clear(self, instance: InstanceId) -> None:
        """Delete the console's file, and the instance's folder with the last file in it."""
        path = self._path(instance, CONSOLE)
        with filesystem(path):
            # Who writes it may keep older ones beside it, with a number for an ending.
            for older in path.parent.glob(f"{CONSOLE}.*"):
                older.unlink(missing_ok=True)
            remove(path)

    def _path(self, instance: InstanceId, disk: str) -> Path:
        for name in (instance, disk):
            if not is_plain(name):
                raise SpecificationInvalid(f"{name!r} is no id")
        return self._folder / instance / disk


def _check(disk: LocalDisk, image: ImageFile | None) -> None:
    if disk.size <= 0 or disk.size % SECTOR:
        raise SpecificationInvalid(
            f"a disk of {disk.size} bytes; the size must be a positive multiple of {SECTOR}"
        )
    if image is not None and image.virtual_size > disk.size:
        raise SpecificationInvalid(
            f"image {image.id} is of {image.virtual_size} bytes, more than the disk's {disk.size}"
        )
    if disk.filesystem is not None and disk.filesystem not in MAKERS:
        raise SpecificationInvalid(
            f"{disk.filesystem!r} is no filesystem that disks are made with: {', '.join(MAKERS)}"
        )


def _make(path: Path, disk: LocalDisk, image: ImageFile | None) -> None:
    match disk.format:
        case DiskFormat.QCOW2:
            _make_qcow2(path, disk, image)
        case DiskFormat.RAW:
            _make_raw(path, disk, image)


def _make_qcow2(path: Path, disk: LocalDisk, image: ImageFile | None) -> None:
    if image is not None:
        base = ("-F", image.format.value, "-b", image.path)
        make(path, "qemu-img", "create", "-q", "-f", "qcow2", *base, str(path), str(disk.size))
    elif disk.filesystem is None:
        make(path, "qemu-img", "create", "-q", "-f", "qcow2", str(path), str(disk.size))
    else:
        raw = path.with_name(f"{path.name}.raw")
        raw.touch(PRIVATE_FILE)
        _make_raw(raw, disk, None)
        make(path, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path))


def _make_raw(path: Path, disk: LocalDisk, image: ImageFile | None) -> None:
    if image is not None:
        formats = ("-f", image.format.value, "-O", "raw")
        make(path, "qemu-img", "convert", *formats, image.path, str(path))
    with path.open("r+b") as file:
        file.truncate(disk.size)
    if disk.filesystem is not None:
        make_filesystem(path, disk.filesystem, disk.uuid)
