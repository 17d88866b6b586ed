"""Which copies of images the disks of this host are made over, as the disks themselves say."""

import struct
from collections.abc import Iterator
from pathlib import Path

from worker.model.ids import ImageId

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQI")
"""Magic, version, offset and length of the base's name: the beginning of a qcow2 file."""


def bases(instances: Path) -> frozenset[ImageId]:
    """Return the images over whose copies any file of an instance is made.

    They go by name alone: the folder may have been reached by another path once.
    """
    return frozenset(
        ImageId(base.name)
        for path in instances.glob("*/*")
        if path.is_file()
        for base in _base(path)
    )


def _base(path: Path) -> Iterator[Path]:
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            return
        _, _, offset, length = _HEADER.unpack(header)
        if offset:
            file.seek(offset)
            yield Path(file.read(length).decode(errors="surrogateescape"))
