"""Which copies of images the disks of this host are made over, as the disks themselves say."""

import struct
from pathlib import Path

from worker.model.ids import ImageId

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQI")
"""Magic, version, offset and length of the base's name: the beginning of a qcow2 file."""


def bases(instances: Path) -> frozenset[ImageId]:
    """Return the images over whose copies any file of an instance is made.

    They go by name alone: the folder may have been reached by another path once.
    """
    found = (base_of(path) for path in instances.glob("*/*") if path.is_file())
    return frozenset(ImageId(base.name) for base in found if base is not None)


def base_of(path: Path) -> Path | None:
    """Return what the file says that it is made over; None for what is whole in itself."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            return None
        _, _, offset, length = _HEADER.unpack(header)
        if not offset:
            return None
        file.seek(offset)
        return Path(file.read(length).decode(errors="surrogateescape"))
