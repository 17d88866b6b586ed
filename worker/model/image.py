"""Images: what disks are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from worker.model.ids import ImageId
from worker.model.source import DiskFormat

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What an image service says of an image, before anything is read of it.

    ``format`` is the declared ``disk_format`` (``raw``, ``qcow2``, ``iso``, ``aki``, ``ari``);
    ``min_disk`` is in GiB and ``min_memory`` in MiB, 0 for no wish; ``checksum`` is
    ``(algorithm, hex digest)``; ``changed_at`` is when its content was, where that is known.
    """

    id: ImageId
    name: str
    format: str
    size: int | None = None
    min_disk: int = 0
    min_memory: int = 0
    checksum: tuple[str, str] | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    changed_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """An image on this host, inspected; ``virtual_size`` is in bytes.

    ``digest`` is the SHA-256 of the file, by which two hosts know that theirs are the same.
    """

    id: ImageId
    path: str
    format: DiskFormat
    virtual_size: int
    digest: str = ""
