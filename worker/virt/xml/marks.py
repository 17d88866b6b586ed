"""Edits of a domain's text: marks of its devices and sources of its disks, and nothing else.

Text goes in and text comes out, as libvirt wrote it but for what was asked: metadata, foreign
namespaces and what this release knows nothing of are in it still.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from lxml import etree

from worker.errors import DeviceAmbiguous, HypervisorRefused
from worker.model.guest import GuestDevice
from worker.model.identity.alias import PREFIX
from worker.model.identity.marking import MarkChange, marks_of
from worker.model.identity.marks import Marks
from worker.model.source import DiskSource
from worker.virt.xml.disk import source_tree
from worker.virt.xml.layout import KINDS, read_layout, read_source

_PARSER = etree.XMLParser(resolve_entities=False, no_network=True)
_AFTER_MARKS = ("alias", "encryption", "address")
"""What libvirt writes behind a serial; an alias goes before the last of them."""
_ON_HOST = {"file", "block"}
"""Types whose sources say no more than a path, and whatever libvirt put beside it."""


def remarked(text: str, changes: Iterable[MarkChange]) -> str:
    """Return the text with other marks; the same text when all are there already.

    Raises DeviceAmbiguous when no device, or not one alone, is what was meant and has the former
    marks, or when two would bear one alias.
    """
    domain, asked = parsed(text), tuple(changes)
    devices = list(zip(_devices(domain), read_layout(text).devices, strict=True))
    edited = [_remark(devices, change) for change in asked]
    _check_apart(domain, asked)
    return _text(domain) if any(edited) else text


def sourced(text: str, sources: Mapping[str, DiskSource]) -> str:
    """Return the text with the sources of these aliases; the same text when all are there."""
    domain = parsed(text)
    edited = [
        _set_source(element, sources[alias])
        for element, disk in zip(_disks(domain), read_layout(text).disks, strict=True)
        if (alias := disk.alias or "") in sources
    ]
    return _text(domain) if any(edited) else text


def unmarked(text: str) -> bytes:
    """Return what a text says beside the marks of its devices, however it is laid out."""
    domain = parsed(text)
    for device in _devices(domain):
        _set_marks(device, Marks())
    return _canonical(domain)


def without_aliases(text: str) -> str:
    """Return the text without any alias of our form, of whatever device, and as it was else."""
    domain = parsed(text)
    aliases = domain.findall("devices/*/alias")
    ours = [alias for alias in aliases if alias.get("name", "").startswith(PREFIX)]
    for alias in ours:
        _take_out(alias)
    return _text(domain) if ours else text


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


def _devices(domain: etree._Element) -> list[etree._Element]:
    """Return the elements in the order of ``Layout.devices``."""
    devices = domain.find("devices")
    return [] if devices is None else [one for kind in KINDS for one in devices.findall(kind)]


def _disks(domain: etree._Element) -> list[etree._Element]:
    return [device for device in _devices(domain) if device.tag == "disk"]


def _text(domain: etree._Element) -> str:
    return etree.tostring(domain, encoding="unicode")


def _remark(devices: Sequence[tuple[etree._Element, GuestDevice]], change: MarkChange) -> bool:
    """Edit the device that is meant; return whether it had to be."""
    fitting = [(element, marks_of(device)) for element, device in devices if change.fits(device)]
    meant = [one for one in fitting if one[1] in (change.former, change.wanted)]
    if len(meant) != 1:
        message = (
            f"{len(meant)} devices are {change.device} with the marks {change.former}, where one"
            " was; read the guest again"
        )
        raise DeviceAmbiguous(message)
    ((element, borne),) = meant
    if borne != change.wanted:
        _set_marks(element, change.wanted)
    return borne != change.wanted


def _check_apart(domain: etree._Element, changes: Iterable[MarkChange]) -> None:
    """The hypervisor would refuse the whole text, and say no more of it than that."""
    borne = Counter(alias.get("name") for alias in domain.findall("devices/*/alias"))
    for change in changes:
        if change.wanted.alias is not None and borne[change.wanted.alias] > 1:
            message = f"{change.device} cannot get alias {change.wanted.alias}: another bears it"
            raise DeviceAmbiguous(message)


def _set_marks(device: etree._Element, marks: Marks) -> None:
    """Write what is another one by now; what is called a serial of no disk is none of ours."""
    if device.tag == "disk" and device.findtext("serial") != marks.serial:
        _take_out_all(device, "serial")
        if marks.serial is not None:
            serial = etree.Element("serial")
            serial.text = marks.serial
            _put(device, serial)
    _take_out_all(device, "alias")
    if marks.alias is not None:
        _put(device, etree.Element("alias", {"name": marks.alias}))


def _take_out_all(device: etree._Element, name: str) -> None:
    for child in device.findall(name):
        _take_out(child)


def _take_out(child: etree._Element) -> None:
    """Take out the element and the indentation before it, and no text of others behind it."""
    before, parent, behind = child.getprevious(), child.getparent(), child.tail or ""
    if before is not None:
        before.tail = (before.tail or "").rstrip() + behind or None
    elif parent is not None:
        parent.text = (parent.text or "").rstrip() + behind or None
    if parent is not None:
        parent.remove(child)


def _put(device: etree._Element, child: etree._Element) -> None:
    behind = [one for one in device if one.tag in _AFTER_MARKS]
    if behind:
        behind[0].addprevious(child)
    else:
        device.append(child)


def _set_source(disk: etree._Element, source: DiskSource) -> bool:
    kind, wanted = source_tree(source)
    found = disk.find("source")
    if disk.get("type") == kind and read_source(found) == source.name:
        return False
    if found is None or not {kind, disk.get("type")} <= _ON_HOST:
        found = _new_source(disk, found)
    for name in ("file", "dev"):
        found.attrib.pop(name, "")
    disk.set("type", kind)
    found.attrib.update(wanted.attrib)
    found.extend(wanted)
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
