"""Files of this host that others made: whether they are there, and what they are labelled."""

from pathlib import Path

from worker.ports.moving import HostFiles

_ISO_AT, _ISO_MARK = 0x8000, b"\x01CD001"
_ISO_LABEL = slice(40, 72)
_FAT_LABELS = ((b"FAT1", 0x36, 0x2B), (b"FAT32", 0x52, 0x47))
"""Where a boot sector says that it is FAT, and where the eleven letters of its label are."""


class LocalHostFiles(HostFiles):
    """Read with the worker's own rights; what it may not read it knows nothing of."""

    def exists(self, path: str) -> bool:
        """Tell whether there is a file or device at the path."""
        try:
            return Path(path).exists()
        except (OSError, ValueError):
            return False

    def label(self, path: str) -> str | None:
        """Return the label of the file system in a file, ISO 9660 or FAT; None for no such."""
        place = Path(path)
        try:
            # Anything else (a pipe) may keep its reader waiting.
            if not (place.is_file() or place.is_block_device()):
                return None
            with place.open("rb") as file:
                boot = file.read(512)
                file.seek(_ISO_AT)
                descriptor = file.read(2048)
        except (OSError, ValueError):
            return None
        return _iso_label(descriptor) or _fat_label(boot)


def _iso_label(descriptor: bytes) -> str | None:
    if not descriptor.startswith(_ISO_MARK):
        return None
    return _word(descriptor[_ISO_LABEL])


def _fat_label(boot: bytes) -> str | None:
    for mark, marked_at, label_at in _FAT_LABELS:
        if boot[marked_at:].startswith(mark):
            return _word(boot[label_at : label_at + 11])
    return None


def _word(raw: bytes) -> str | None:
    return raw.decode("ascii", errors="replace").strip() or None
