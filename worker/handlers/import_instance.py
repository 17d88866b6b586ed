"""Take in an instance that another host's worker has exported."""

from dataclasses import dataclass, replace

from worker.errors import RequestMalformed
from worker.handlers.check_import import CheckImport, check_import
from worker.handlers.parts.carried_aliases import with_aliases
from worker.handlers.parts.files_here import (
    beside_here,
    copies_here,
    disk_sources,
    lean_back,
    lean_on,
)
from worker.handlers.parts.reach_volume import Ways, reach
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.config_drive import config_drive_files
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import InstanceId
from worker.model.instance import TaskState
from worker.model.moving.carried import Carried, read
from worker.model.source import DiskSource
from worker.model.volume import Attachment, AttachmentStatus
from worker.ports import Ports
from worker.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportInstance:
    """Operation: take in an instance; ``document`` is what its export has answered, as JSON.

    With ``force`` its host need not have released it: for one that is dead.
    """

    instance_uuid: InstanceId
    document: str
    force: bool = False


def import_instance(request: ImportInstance, ports: Ports) -> None:
    """Define the domain as it was, every mark kept, and connect its volumes to this host.

    Its local disks are here already; what they are made over, and the machine names beside them,
    is found or made first. The commit point is that the rows are here. Each volume gets a new
    attachment, the old one, where the volume service still has it, is deleted first: it is for the
    other host.
    """
    carried = read(request.document, ports.host)
    if carried.instance.uuid != request.instance_uuid:
        message = f"the document is of instance {carried.instance.uuid}"
        raise RequestMalformed(message)
    if not _rows_are_in(carried, ports):
        _define(request, carried, ports)
    for row in ports.devices.of_instance(carried.instance.uuid):
        if not row.local and row.status is DeviceStatus.MISSING:
            _connect(row, carried, ports)
    ports.instances.save(replace(carried.instance, task_state=None))


def _rows_are_in(carried: Carried, ports: Ports) -> bool:
    """An earlier run may have come to the commit point without having written it down."""
    found = ports.moves.find(carried.instance.uuid)
    ours = (
        found is not None and found.host == ports.host and found.task_state == TaskState.IMPORTING
    )
    if ours:
        ports.progress.pass_commit_point()
    return ours


def _define(request: ImportInstance, carried: Carried, ports: Ports) -> None:
    instance = carried.instance
    with Undo(ports.progress) as undo:
        undo.earlier("local_disks.rebase", lean_back, carried, ports)
        undo.earlier("local_disks.console", ports.local_disks.tidy, instance.uuid)
        undo.earlier("config_drives.write", ports.config_drives.delete, instance.uuid)
        undo.earlier("definitions.define", ports.definitions.drop, instance.uuid)
        if not ports.progress.reached("definitions.define"):
            check_import(CheckImport(document=request.document, force=request.force), ports)
        carried = with_aliases(carried, ports)
        copies = copies_here(carried, ports)

        undo.by(lean_back, carried, ports)
        lean_on(copies, carried, ports)

        undo.by(ports.local_disks.tidy, instance.uuid)
        beside = beside_here(copies, carried, ports)

        sources = disk_sources(carried, ports) | _config_drive(carried, undo, ports)

        undo.by(ports.definitions.drop, instance.uuid)
        ports.definitions.define(instance.uuid, carried.text, sources, beside)

        ports.moves.bring_in(instance, carried.rows, carried.peripherals)
        undo.commit_point()


def _config_drive(carried: Carried, undo: Undo, ports: Ports) -> dict[str, DiskSource]:
    """Return where the drive is, made anew if it did not come along."""
    instance = carried.instance
    if instance.specification is None or not instance.specification.config_drive:
        return {}
    found = ports.config_drives.find(instance.uuid)
    if found is None:
        undo.by(ports.config_drives.delete, instance.uuid)
        files = config_drive_files(instance, carried.rows)
        found = ports.config_drives.write(instance.uuid, files)
    return {config_drive_alias(carried.instance.uuid): found.source}


def _connect(row: BlockDevice, carried: Carried, ports: Ports) -> None:
    """Bring one volume to this host; each step looks whether an earlier run has done it."""
    attachment = _attachment(row, carried, ports)
    row = replace(row, attachment=attachment.id)
    ports.devices.save(row)
    row, volume = reach(row, Ways(ports).to(row), ports)
    ports.definitions.renew(row.instance, {row.alias: volume.source})
    if attachment.status is not AttachmentStatus.ATTACHED:
        ports.attachments.complete(attachment.id)
    ports.devices.save(replace(row, status=DeviceStatus.ATTACHED))


def _attachment(row: BlockDevice, carried: Carried, ports: Ports) -> Attachment:
    found = ports.attachments.find(row.its_volume, row.instance)
    if found is not None and found.id == carried.held.get(row.uuid):
        ports.attachments.delete(found.id)
        found = None
    return found or ports.attachments.create(row.its_volume, row.instance)
