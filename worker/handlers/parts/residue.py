"""What volumes left on this host: looked for, and taken away where it is ours."""

from worker.errors import ConnectFailed
from worker.model.block_device import BlockDevice
from worker.model.drift import Difference, DriftKind
from worker.model.drift.residue import Claim, Residue, of_secret, residue
from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.leftover import Leftover
from worker.model.method import Method
from worker.model.operation import Operation, OperationState
from worker.ports import Ports

AT_WORK = (OperationState.QUEUED, OperationState.RUNNING)


def find_things(ports: Ports) -> Residue:
    """Return what is on this host and what of it was left.

    Looked at before the rows and after them: a row names what is connected before that is there,
    and what was gone in between was not left. Raises VolumeServiceUnavailable.
    """
    first = ports.leftovers.list()
    if not first:
        return Residue()
    claims = _claims(ports)
    still = {thing.key for thing in ports.leftovers.list()}
    return residue([thing for thing in first if thing.key in still], claims)


def find_secrets(ports: Ports) -> Residue:
    """Return libvirt's secrets of rows at which nothing is at work: QEMU has long had them.

    Raises HypervisorUnavailable.
    """
    first = ports.guest_secrets.list()
    if not first:
        return Residue()
    busy = {operation.instance for operation in _at_work(ports)}
    rows = [_row_of(instance, device, ports) for instance, device in first]
    still = {device for _, device in ports.guest_secrets.list()}
    known = [row for row in rows if row is not None and row.uuid in still]
    return Residue(
        differences=tuple(of_secret(row) for row in known if row.instance not in busy),
        foreign=sum(row is None for row in rows),
    )


def _row_of(instance: InstanceId, device: BlockDeviceId, ports: Ports) -> BlockDevice | None:
    """What a secret says of itself is no proof: the row has to say so, too."""
    row = ports.devices.look(device)
    return row if row is not None and row.instance == instance else None


def of_instance(instance: InstanceId, ports: Ports) -> tuple[Difference, ...]:
    """Return what the rows of one instance left; raises HypervisorUnavailable."""
    found = (*find_things(ports).differences, *find_secrets(ports).differences)
    return tuple(each for each in found if each.instance == instance)


def remove(difference: Difference, row: BlockDevice, ports: Ports) -> None:
    """Take away what was left, if it still is; raises ConnectFailed for what does not go."""
    if difference.kind is DriftKind.SECRET_LEFT:
        ports.guest_secrets.drop(row.instance)
        return
    with ports.sharing.alone(row.its_volume):
        thing = _still_left(difference, ports)
        if thing is not None:
            ports.leftovers.remove(thing)


def _still_left(difference: Difference, ports: Ports) -> Leftover | None:
    """Another lane may have begun to use it since."""
    for each in find_things(ports).differences:
        if each.subject == difference.subject:
            if each.mend.why_not is not None:
                raise ConnectFailed(each.mend.why_not)
            return each.thing
    return None


def _claims(ports: Ports) -> list[Claim]:
    """Return who names what, oldest first.

    A record is of a connection that was not let go: that is for ``connection_left`` to mend.
    """
    records = ports.connections.list()
    rows = ports.devices.connected()
    busy = {operation.block_device for operation in _at_work(ports)}
    ways = [row.connection for row in rows if row.connection is not None]
    ways += [record.connection for record in records]
    marks = ports.leftovers.marks(ways)
    claims = [
        Claim(row=row if row.deleted and row.uuid not in busy else None, marks=names, wwid=row.wwid)
        for row, names in zip(rows, marks, strict=False)
    ]
    return claims + [Claim(row=None, marks=names) for names in marks[len(rows) :]]


def _at_work(ports: Ports) -> list[Operation]:
    """A repair looks here itself, and connects nothing that no row names."""
    found = ports.operations.list(states=AT_WORK)
    return [each for each in found if each.method != Method.REPAIR_DRIFT]
