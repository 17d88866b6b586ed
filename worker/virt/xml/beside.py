"""Files that a domain's text names beside its disks: read, and named elsewhere."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from lxml import etree

from worker.model.moving.beside import Beside
from worker.virt.xml.marks import parsed

CONSOLE = "console.log"
_PLACES: Mapping[str, str] = {"kernel": "os/kernel", "ramdisk": "os/initrd", "nvram": "os/nvram"}
_WRITTEN = tuple(
    (f"devices/{device}/{where}", attribute)
    for device in ("serial", "console")
    for where, attribute in (("log", "file"), ("source", "path"))
)
"""Where a port of the guest says into which file it is written, and the attribute that does."""

_CHOSEN = "os[@firmware='efi']"
"""Where libvirt chooses the firmware, by what it is to be able to."""

_SOCKET = "/run/libvirt/libvirt-sock"
_PRIVATE = {"system": "lib/libvirt/qemu/nvram", "session": "config/libvirt/qemu/nvram"}
_FOLDERS = {
    "system": "/var/lib/libvirt/qemu/nvram",
    "session": "~/.config/libvirt/qemu/nvram",
}


def beside_of(text: str, uri: str) -> Beside:
    """Return the files that a domain's text names.

    Where libvirt is left to choose the firmware, the NVRAM is in a folder of its own, and no text
    that it keeps says so; nobody knows of a libvirt that is elsewhere.
    """
    domain = parsed(text)
    consoles = (element.get(name) for element, name in _consoles(domain))
    named = {place: _path(domain.find(where)) for place, where in _PLACES.items()}
    folder = nvram_folder(uri)
    if named["nvram"] is None and domain.find(_CHOSEN) is not None and folder is not None:
        named["nvram"] = str(folder / f"{domain.findtext('name')}_VARS.fd")
    return Beside(console=next(consoles, None), **named)


def nvram_folder(uri: str) -> Path | None:
    """Return where that libvirt keeps the NVRAM of its domains; None for one of another host."""
    found = urlsplit(uri)
    kind = found.path.strip("/")
    if found.netloc or kind not in _FOLDERS:
        return None
    (socket,) = parse_qs(found.query).get("socket", [""])
    if socket.endswith(_SOCKET):
        # A private one has all its folders in one.
        return Path(socket.removesuffix(_SOCKET)) / _PRIVATE[kind]
    return Path(_FOLDERS[kind]).expanduser()


def placed(text: str, beside: Beside) -> str:
    """Return the text with the files where they are now; what it does not name is not added."""
    domain = parsed(text)
    if beside.console is not None:
        for element, name in _consoles(domain):
            element.set(name, beside.console)
    for place, where in _PLACES.items():
        path, found = getattr(beside, place), domain.find(where)
        if path is not None and found is not None:
            _name(found, path)
    if beside.nvram is not None and domain.find("os/nvram") is None:
        for chosen in domain.findall(_CHOSEN):
            etree.SubElement(chosen, "nvram").text = beside.nvram
    return etree.tostring(domain, encoding="unicode")


def _consoles(domain: etree._Element) -> Iterator[tuple[etree._Element, str]]:
    """Yield what names the console's file of ours, and the attribute that does.

    It goes by the end of the path, for the folder is another one on each host.
    """
    ours = f"/{domain.findtext('uuid')}/{CONSOLE}"
    for where, attribute in _WRITTEN:
        for element in domain.findall(where):
            if element.get(attribute, "").endswith(ours):
                yield element, attribute


def _path(element: etree._Element | None) -> str | None:
    if element is None:
        return None
    source = element.find("source")
    return (element.text if source is None else source.get("file")) or None


def _name(element: etree._Element, path: str) -> None:
    source = element.find("source")
    if source is None:
        element.text = path
    else:
        source.set("file", path)
