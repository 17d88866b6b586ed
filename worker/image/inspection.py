"""Looking into an image before qemu-img or QEMU does.

An image that comes from a user may name other files of the host, as a backing file or as its data,
and QEMU would open them (CVE-2024-32498, CVE-2022-47951); one that holds two formats at once is
one thing to who checks it and another to who runs it. What passes here is given on with its
format spelt out, so that nobody guesses again.
"""

from dataclasses import dataclass
from pathlib import Path

from oslo_utils.imageutils.format_inspector import (
    FileInspector,
    InspectWrapper,
    SafetyCheckFailed,
)

from worker.errors import ImageRefused
from worker.image.programs import ProgramFailed, look
from worker.model.source import DiskFormat

RAW = frozenset({"raw", "gpt"})
"""Contents that a guest is to see byte for byte: a partition table says nothing to QEMU."""

CONTENTS = {
    "raw": RAW,
    "qcow2": frozenset({"qcow2"}),
    "iso": frozenset({"iso", "gpt"}),
    # The old names of a kernel, an initial ramdisk and a disk without partition table.
    "aki": RAW,
    "ari": RAW,
    "ami": RAW,
}
"""What may be found, by the format that is declared; a bootable ISO has a partition table too."""

_CHUNK = 1 << 20
_CRYPT_METHOD = slice(32, 36)
_HEADER = 512
_LEAKS = 3
"""qemu-img check: clusters that nobody uses are lost room, and no damage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a file holds; ``virtual_size`` is in bytes."""

    format: DiskFormat
    virtual_size: int


def inspect(path: Path, declared: str) -> Content:
    """Look into the file and return what it holds.

    Raises ImageRefused unless that is of the declared format, whole in itself, and plain.
    """
    allowed = CONTENTS.get(declared)
    if allowed is None:
        raise ImageRefused(f"format {declared!r} is none of {', '.join(CONTENTS)}")
    if path.stat().st_size == 0:
        raise ImageRefused("it is empty")
    found = _detect(path)
    names = frozenset(str(each) for each in found)
    if not names <= allowed or (declared == "iso" and "iso" not in names):
        raise ImageRefused(f"it is declared as {declared}, and its content is {_named(names)}")
    if declared == "qcow2":
        return _qcow2(path, found[0])
    return Content(format=DiskFormat.RAW, virtual_size=path.stat().st_size)


def check_whole(path: Path, content: Content) -> None:
    """Let qemu-img look for damage in an image that was inspected; raises ImageRefused.

    A copy that was cut off may still have a header like the whole one's.
    """
    if content.format is not DiskFormat.QCOW2:
        return
    try:
        look("qemu-img", "check", "-f", "qcow2", str(path), fine=(0, _LEAKS))
    except ProgramFailed as error:
        raise ImageRefused(f"it is damaged: {error}") from error


def _named(names: frozenset[str]) -> str:
    return " and ".join(sorted(names))


def _detect(path: Path) -> list[FileInspector]:
    """Return every format that the content could be; a disguise may show more than one."""
    with path.open("rb") as file:
        inspector = InspectWrapper(file)
        try:
            while inspector.formats is None and inspector.read(_CHUNK):
                pass
            inspector.close()
            return inspector.formats or []
        # It parses what an attacker may have written, and trips in ways of its own.
        except Exception as error:
            raise ImageRefused(f"its format cannot be told: {error}") from error


def _qcow2(path: Path, found: FileInspector) -> Content:
    try:
        found.safety_check()
    except SafetyCheckFailed as error:
        why = "; ".join(str(each) for each in error.failures.values())
        raise ImageRefused(f"it is not plain: {why}") from error
    except Exception as error:
        raise ImageRefused(f"its format cannot be told: {error}") from error
    with path.open("rb") as file:
        header = file.read(_HEADER)
    if any(header[_CRYPT_METHOD]):
        raise ImageRefused("it is encrypted")
    if not 0 < found.virtual_size < 1 << 63:
        raise ImageRefused(f"it is a disk of {found.virtual_size} bytes")
    return Content(format=DiskFormat.QCOW2, virtual_size=found.virtual_size)
