"""Config drives: ISO 9660 images that a guest reads at boot, by their label ``config-2``."""

import re
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath

from pycdlib import PyCdlib
from pycdlib.pycdlibexception import PyCdlibException

from worker.errors import SpecificationInvalid
from worker.image.files import appearing, filesystem, is_plain, remove
from worker.model.ids import InstanceId
from worker.model.source import DiskOptions, FileSource, HostVolume
from worker.ports import ConfigDrives

LABEL = "config-2"
FILE = "config-drive.iso"
RESCUE_FILE = "config-drive.rescue.iso"

_READABLE_FILE = 0o100444
_READABLE_FOLDER = 0o040555
_LONGEST = 24
_LONGEST_JOLIET = 64
_NOT_ISO = re.compile(r"[^A-Z0-9_]")


class IsoConfigDrives(ConfigDrives):
    """A file an instance, beside its local disks; it may hold a password, so none but QEMU reads.

    Names are as given under Rock Ridge (Linux) and Joliet (Windows).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(
        self, instance: InstanceId, files: Mapping[str, bytes], *, rescue: bool = False
    ) -> HostVolume:
        """Make the drive of these files, by path, or make it anew; raises NoRoom, DiskFailed."""
        path = self._path(instance, rescue=rescue)
        _check_names(files)
        image = _image_of(files)
        with filesystem(path), appearing(path) as temporary:
            temporary.write_bytes(image)
        return _volume(path)

    def find(self, instance: InstanceId, *, rescue: bool = False) -> HostVolume | None:
        """Return where the drive is, None where there is none."""
        path = self._path(instance, rescue=rescue)
        with filesystem(path):
            return _volume(path) if path.exists() else None

    def delete(self, instance: InstanceId, *, rescue: bool = False) -> None:
        """Delete the drive, and the instance's folder with the last file in it."""
        path = self._path(instance, rescue=rescue)
        with filesystem(path):
            remove(path)

    def _path(self, instance: InstanceId, *, rescue: bool) -> Path:
        if not is_plain(instance):
            raise SpecificationInvalid(f"{instance!r} is no id")
        return self._folder / instance / (RESCUE_FILE if rescue else FILE)


def _volume(path: Path) -> HostVolume:
    return HostVolume(source=FileSource(path=str(path)), options=DiskOptions(read_only=True))


def _check_names(files: Iterable[str]) -> None:
    for name in files:
        if not all(is_plain(part) and len(part) <= _LONGEST_JOLIET for part in name.split("/")):
            raise SpecificationInvalid(f"{name!r} is no path of a file on a config drive")


def _image_of(files: Mapping[str, bytes]) -> bytes:
    made = BytesIO()
    image = PyCdlib()
    try:
        image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
        _fill(image, files)
        image.write_fp(made)
        image.close()
    except PyCdlibException as error:
        raise SpecificationInvalid(f"no config drive can be made of that: {error}") from error
    return made.getvalue()


def _fill(image: PyCdlib, files: Mapping[str, bytes]) -> None:
    names = _IsoNames()
    for folder in _folders(files):
        image.add_directory(
            names.of(folder),
            rr_name=folder.name,
            joliet_path=f"/{folder}",
            file_mode=_READABLE_FOLDER,
        )
    for name, content in sorted(files.items()):
        path = PurePosixPath(name)
        image.add_fp(
            BytesIO(content),
            len(content),
            f"{names.of(path)}.;1",
            rr_name=path.name,
            joliet_path=f"/{path}",
            file_mode=_READABLE_FILE,
        )


def _folders(files: Mapping[str, bytes]) -> Iterator[PurePosixPath]:
    """Yield each folder that the files need, after the one above it."""
    above = {parent for name in files for parent in PurePosixPath(name).parents}
    yield from sorted(above - {PurePosixPath()})


class _IsoNames:
    """Names for a reader that knows neither extension: few letters, and each only once."""

    def __init__(self) -> None:
        self._given: dict[PurePosixPath, str] = {PurePosixPath(): ""}

    def of(self, path: PurePosixPath) -> str:
        if path not in self._given:
            wanted = f"{self.of(path.parent)}/{_NOT_ISO.sub('_', path.name.upper())[:_LONGEST]}"
            taken = set(self._given.values())
            endings = ("", *(f"_{number}" for number in range(len(taken))))
            self._given[path] = next(wanted + end for end in endings if wanted + end not in taken)
        return self._given[path]
