"""The two sides of a swap as rows, so that each is dealt with as a volume of its own."""

from dataclasses import replace

from worker.model.block_device import BlockDevice
from worker.model.ids import BlockDeviceId, VolumeId, new_uuid
from worker.model.swap import Swap
from worker.model.volume import Volume


def begun(row: BlockDevice, volume: VolumeId) -> BlockDevice:
    """Return the row as it is while the volume is to take its volume's place."""
    return replace(row, swap=Swap(uuid=BlockDeviceId(new_uuid()), volume=volume))


def other_side(row: BlockDevice) -> BlockDevice:
    """Return the row as it would be with the volume of its other side; a row without stays."""
    swap = row.swap
    if swap is None:
        return row
    return replace(
        row,
        uuid=swap.uuid,
        volume=swap.volume,
        attachment=swap.attachment,
        connection=swap.connection,
        wwid=swap.wwid,
        swap=None,
    )


def side_of(row: BlockDevice, volume: VolumeId) -> BlockDevice:
    """Return the side that has the volume."""
    return row if row.volume == volume else other_side(row)


def with_side(row: BlockDevice, side: BlockDevice) -> BlockDevice:
    """Return the row with what has become of one of its sides."""
    if side.uuid == row.uuid or row.swap is None:
        return replace(row, attachment=side.attachment, connection=side.connection, wwid=side.wwid)
    swap = replace(row.swap, attachment=side.attachment, connection=side.connection, wwid=side.wwid)
    return replace(row, swap=swap)


def turned(row: BlockDevice, volume: Volume) -> BlockDevice:
    """Return the row once its guest has gone over to the volume; alias and serial stay."""
    if row.swap is None or row.volume == volume.id:
        return row
    former = Swap(
        uuid=row.swap.uuid,
        volume=row.its_volume,
        attachment=row.attachment,
        connection=row.connection,
        wwid=row.wwid,
    )
    return replace(
        row,
        volume=volume.id,
        attachment=row.swap.attachment,
        connection=row.swap.connection,
        wwid=row.swap.wwid,
        volume_size=volume.size_gib,
        volume_type=volume.volume_type,
        multiattach=volume.multiattach,
        swap=former,
    )
