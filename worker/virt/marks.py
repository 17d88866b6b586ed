"""Edits of a domain's text: marks and sources of its disks, and nothing else.

Text goes in and text comes out, as libvirt wrote it but for what was asked: metadata, foreign
namespaces and what this release knows nothing of are in it still.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from lxml import etree

from worker.errors import DeviceAmbiguous, HypervisorRefused
from worker.model.guest import GuestDisk
from worker.model.marking import MarkChange, marks_of
from worker.model.marks import Marks
from worker.model.source import BlockSource, DiskSource, FileSource
from worker.virt.layout import read_layout

_PARSER = etree.XMLParser(resolve_entities=False, no_network=True)
_AFTER_MARKS = ("alias", "encryption", "address")
"""What libvirt writes behind a serial; an alias goes before the last of them."""


def remarked(text: str, changes: Iterable[MarkChange]) -> str:
    """Return the text with other marks; the same text when all are there already.

    Raises DeviceAmbiguous when no disk, or not the one that is meant, has the former marks.
    """
    domain = parsed(text)
    disks = list(zip(_elements(domain), read_layout(text).disks, strict=True))
    edited = [_remark(disks, change) for change in changes]
    return _text(domain) if any(edited) else text


def sourced(text: str, sources: Mapping[str, DiskSource]) -> str:
    """Return the text with the sources of these aliases; the same text when all are there."""
    domain = parsed(text)
    edited = [
        _set_source(element, sources[alias])
        for element, disk in zip(_elements(domain), read_layout(text).disks, strict=True)
        if (alias := disk.alias or "") in sources
    ]
    return _text(domain) if any(edited) else text


def unmarked(text: str) -> bytes:
    """Return what a text says beside the marks of its disks, however it is laid out."""
    domain = parsed(text)
    for disk in _elements(domain):
        for name in ("alias", "serial"):
            for child in disk.findall(name):
                disk.remove(child)
    return _canonical(domain)


def parsed(text: str) -> etree._Element:
    """Read a domain's text; raises HypervisorRefused for one that is none."""
    try:
        domain = etree.fromstring(text.encode(), _PARSER)
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        message = f"the text of a domain cannot be read: {error}"
        raise HypervisorRefused(message) from error
    if domain.tag != "domain":
        message = f"the text is of a {domain.tag!r}, not of a domain"
        raise HypervisorRefused(message)
    return domain


def _canonical(domain: etree._Element) -> bytes:
    for element in domain.iter():
        element.tail = None
        if len(element) and not (element.text or "").strip():
            element.text = None
    return etree.tostring(domain, method="c14n", with_comments=False)


def _elements(domain: etree._Element) -> list[etree._Element]:
    return domain.findall("devices/disk")


def _text(domain: etree._Element) -> str:
    return etree.tostring(domain, encoding="unicode")


def _remark(disks: Sequence[tuple[etree._Element, GuestDisk]], change: MarkChange) -> bool:
    """Edit the disk that is meant; return whether it had to be."""
    for element, disk in disks:
        if change.fits(disk):
            if marks_of(disk) == change.wanted:
                return False
            if marks_of(disk) == change.former:
                _set_marks(element, change.wanted)
                return True
    message = (
        f"no disk is {change.target} at {change.address} of {change.source} with the marks"
        f" {change.former.alias}, {change.former.serial}; read the guest again"
    )
    raise DeviceAmbiguous(message)


def _set_marks(disk: etree._Element, marks: Marks) -> None:
    for name in ("alias", "serial"):
        for child in disk.findall(name):
            disk.remove(child)
    if marks.serial is not None:
        serial = etree.Element("serial")
        serial.text = marks.serial
        _put(disk, serial)
    if marks.alias is not None:
        _put(disk, etree.Element("alias", {"name": marks.alias}))


def _put(disk: etree._Element, child: etree._Element) -> None:
    behind = [one for one in disk if one.tag in _AFTER_MARKS]
    if behind:
        behind[0].addprevious(child)
    else:
        disk.append(child)


def _set_source(disk: etree._Element, source: DiskSource) -> bool:
    kind, attribute, path = _named(source)
    found = disk.find("source")
    if disk.get("type") == kind and found is not None and found.get(attribute) == path:
        return False
    if found is None or disk.get("type") not in ("file", "block"):
        found = _new_source(disk, found)
    for name in ("file", "dev"):
        found.attrib.pop(name, "")
    disk.set("type", kind)
    found.set(attribute, path)
    return True


def _new_source(disk: etree._Element, old: etree._Element | None) -> etree._Element:
    """What stands in the source of another kind (hosts, secrets) means nothing in this one."""
    if old is not None:
        disk.remove(old)
    found = etree.Element("source")
    target = disk.find("target")
    if target is None:
        disk.append(found)
    else:
        target.addprevious(found)
    return found


def _named(source: DiskSource) -> tuple[str, str, str]:
    match source:
        case BlockSource():
            return "block", "dev", source.path
        case FileSource():
            return "file", "file", source.path
        case _:
            assert_never(source)
