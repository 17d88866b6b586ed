"""Where on this host the files of an instance are that comes from another one.

Of an instance that was built each local disk is in the folder in which this worker keeps those of
its own: there a start looks for it, and nowhere else. Other files are where they were.
"""

from collections.abc import Iterator, Mapping

from worker.errors import BaseUnavailable, ImageNotFound, LocalDiskUnavailable
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import ImageId
from worker.model.image import ImageFile
from worker.model.moving.beside import Beside
from worker.model.moving.carried import Base, Carried
from worker.model.source import DiskSource, FileSource
from worker.model.specification import LocalDisk
from worker.ports import Ports

NVRAM = "nvram.fd"
"""What the variables of a guest's UEFI are called in the instance's folder."""

FLATTEN = "flatten the disk where the old host's copy is (qemu-img rebase -f qcow2 -b '' FILE)"
"""What to do about a disk whose base cannot be had here."""


def check_files(carried: Carried, ports: Ports) -> dict[str, str]:
    """Return where each local disk is, by alias; raises what an import would be refused with.

    LocalDiskUnavailable for a file that is not here, BaseUnavailable for an image that neither the
    image service nor this host has, or that is another one here.
    """
    found = {alias: source.name for alias, source in disk_sources(carried, ports).items()}
    others = _others(carried)
    for alias, path in others.items():
        if not ports.host_files.exists(path):
            message = f"disk {alias} is not on this host: there is no {path}; copy it here first"
            raise LocalDiskUnavailable(message)
    _nvram(carried, ports)
    for _, base in _leaning(carried, ports):
        copy = _look(base.image, ports)
        if copy is not None:
            _check_same(copy, base)
    for image in _started_with(carried):
        _look(image, ports)
    return others | found


def disk_sources(carried: Carried, ports: Ports) -> dict[str, DiskSource]:
    """Return where the local disks of an instance that was built are; raises as check_files."""
    rows = {row.uuid: row for row in carried.rows}
    return {rows[disk.uuid].alias: _found(disk, carried, ports) for disk in carried.disks}


def copies_here(carried: Carried, ports: Ports) -> dict[ImageId, ImageFile]:
    """Have this host's copy of each image that the instance needs; each is what it was there."""
    bases = [base for _, base in _leaning(carried, ports)]
    wanted = {*_started_with(carried), *(base.image for base in bases)}
    copies = {
        image: ports.images.copy(image) or ports.images.fetch(image) for image in sorted(wanted)
    }
    for base in bases:
        _check_same(copies[base.image], base)
    return copies


def lean_on(copies: Mapping[ImageId, ImageFile], carried: Carried, ports: Ports) -> None:
    """Have each disk that is made over an image say that it is made over this host's copy."""
    for disk, base in _leaning(carried, ports):
        copy = copies[base.image]
        _lean(disk, FileSource(path=copy.path, format=copy.format), carried, ports)


def lean_back(carried: Carried, ports: Ports) -> None:
    """Have each disk that is made over an image say what it said when it was exported."""
    for disk, base in _leaning(carried, ports):
        _lean(disk, FileSource(path=base.path, format=base.format), carried, ports)


def beside_here(copies: Mapping[ImageId, ImageFile], carried: Carried, ports: Ports) -> Beside:
    """Return where the other files are that the machine names; the console's has a folder then."""
    made_as, nvram = carried.instance.specification, _nvram(carried, ports)
    if made_as is None:
        return Beside(nvram=nvram)
    return Beside(
        console=ports.local_disks.console(carried.instance.uuid),
        kernel=None if made_as.kernel is None else copies[made_as.kernel].path,
        ramdisk=None if made_as.ramdisk is None else copies[made_as.ramdisk].path,
        nvram=nvram,
    )


def _others(carried: Carried) -> dict[str, str]:
    """Return where what this worker did not make was; the config drive can be made anew."""
    made = {disk.uuid for disk in carried.disks}
    ours = {row.alias for row in carried.rows if row.uuid in made}
    if carried.instance.specification is not None:
        ours.add(config_drive_alias(carried.instance.uuid))
    return {alias: path for alias, path in carried.sources.items() if alias not in ours}


def _found(disk: LocalDisk, carried: Carried, ports: Ports) -> DiskSource:
    uuid = carried.instance.uuid
    found = ports.local_disks.find(uuid, disk)
    if found is None:
        folder = ports.local_disks.folder(uuid)
        message = f"local disk {disk.uuid} is not on this host: copy it to {folder}/{disk.uuid}"
        raise LocalDiskUnavailable(message)
    return found.source


def _nvram(carried: Carried, ports: Ports) -> str | None:
    if carried.nvram is None:
        return None
    own = f"{ports.local_disks.folder(carried.instance.uuid)}/{NVRAM}"
    for path in (own, carried.nvram):
        if ports.host_files.exists(path):
            return path
    message = f"the guest's NVRAM is not on this host: copy it to {own} or {carried.nvram}"
    raise LocalDiskUnavailable(message)


def _leaning(carried: Carried, ports: Ports) -> Iterator[tuple[LocalDisk, Base]]:
    """Yield each disk that is made over an image, unless it was flattened since its export."""
    for disk in carried.disks:
        base = carried.bases.get(disk.uuid)
        if base is None and not carried.older:
            continue
        if ports.local_disks.base(carried.instance.uuid, disk) is not None:
            yield disk, _known(base, disk)


def _known(base: Base | None, disk: LocalDisk) -> Base:
    """What nobody wrote down cannot be compared, and another content would ruin the disk."""
    if base is None:
        message = (
            f"the document is of an older release, and does not say what local disk {disk.uuid} is"
            f" made over: export the instance anew, or {FLATTEN}"
        )
        raise BaseUnavailable(message)
    return base


def _lean(disk: LocalDisk, base: FileSource, carried: Carried, ports: Ports) -> None:
    if ports.local_disks.base(carried.instance.uuid, disk) != base.path:
        ports.local_disks.rebase(carried.instance.uuid, disk, base)


def _look(image: ImageId, ports: Ports) -> ImageFile | None:
    """Return this host's copy; None if it can be fetched."""
    copy = ports.images.copy(image)
    if copy is None:
        try:
            ports.images.show(image)
        except ImageNotFound as error:
            message = (
                f"image {image} is neither in this host's cache nor at its image service: give it"
                f" to the service, or, if it is a disk's, {FLATTEN}"
            )
            raise BaseUnavailable(message) from error
    return copy


def _check_same(copy: ImageFile, base: Base) -> None:
    if copy.digest != base.digest:
        message = (
            f"image {copy.id} is another one here (sha256 {copy.digest}) than the one that a local"
            f" disk is made over ({base.digest}): {FLATTEN}"
        )
        raise BaseUnavailable(message)


def _started_with(carried: Carried) -> tuple[ImageId, ...]:
    made_as = carried.instance.specification
    files = () if made_as is None else (made_as.kernel, made_as.ramdisk)
    return tuple(image for image in files if image is not None)
