"""What a domain XML says of disks that are being copied, and of those that show a part of a source.

https://libvirt.org/formatdomain.html has ``<mirror>`` and ``<slices>`` at "Hard drives".
"""

from dataclasses import dataclass

from lxml import etree

from worker.virt.xml.layout import read_source
from worker.virt.xml.marks import parsed
from worker.virt.xml.values import number

READY = "yes"
ENDING = frozenset({"abort", "pivot"})
"""What ``ready`` says of a copy that libvirt has told to end, and has not yet seen ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """A disk as the running guest has it.

    ``mirror`` is where it is being copied to, if so, and ``ready`` how far libvirt is with that.
    ``numbers`` are what libvirt calls both by, in QEMU. A ``sliced`` one ends before its source
    does.
    """

    target: str
    source: str | None
    mirror: str | None
    ready: str | None
    numbers: tuple[int | None, int | None]
    sliced: bool
    discard: str | None

    @property
    def ending(self) -> bool:
        """Whether libvirt is at work on the copy's end."""
        return self.ready in ENDING


def read_mirrored(text: str, alias: str) -> Mirrored | None:
    """Read the disk of that alias; None where there is none."""
    disk = _disk(parsed(text), alias)
    if disk is None:
        return None
    target, driver, mirror = disk.find("target"), disk.find("driver"), disk.find("mirror")
    return Mirrored(
        target="" if target is None else target.get("dev", ""),
        source=read_source(disk.find("source")),
        mirror=None if mirror is None else read_source(mirror.find("source")),
        ready=None if mirror is None else mirror.get("ready"),
        numbers=(
            number(disk.find("source"), "index"),
            None if mirror is None else number(mirror.find("source"), "index"),
        ),
        sliced=disk.find("source/slices") is not None,
        discard=None if driver is None else driver.get("discard"),
    )


def sliced(disk: etree._Element, size: int) -> etree._Element:
    """Have a disk end after so many bytes of its source."""
    source = disk.find("source")
    slices = etree.SubElement(disk if source is None else source, "slices")
    etree.SubElement(slices, "slice", {"type": "storage", "offset": "0", "size": str(size)})
    return disk


def unsliced(text: str, alias: str) -> str:
    """Return the text with the whole source as that disk; the same text if it has it."""
    domain = parsed(text)
    disk = _disk(domain, alias)
    source = None if disk is None else disk.find("source")
    slices = None if source is None else source.find("slices")
    if source is None or slices is None:
        return text
    source.remove(slices)
    return etree.tostring(domain, encoding="unicode")


def _disk(domain: etree._Element, alias: str) -> etree._Element | None:
    for disk in domain.findall("devices/disk"):
        name = disk.find("alias")
        if name is not None and name.get("name") == alias:
            return disk
    return None
