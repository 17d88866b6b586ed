"""What a request may delete at the volume service, and what it leaves to whoever has it."""

import pytest
from sqlalchemy import update

from tests.api_rig import ApiRig
from tests.contract.api.attach_scenes import attach
from worker.api.compute.giving_back import drop_unused
from worker.model.ids import InstanceId, VolumeId, new_uuid
from worker.model.volume import AttachmentStatus
from worker.persistence.schema import BLOCK_DEVICES


def taking_in(api: ApiRig, server: InstanceId, other: VolumeId) -> None:
    """Have the one volume of a server be on its way to another, as a swap writes it down."""
    assert api.end_of(attach(api, server, api.volume()))["state"] == "succeeded"
    nothing = dict.fromkeys(("attachment_id", "connection", "wwid"))
    swap = nothing | {"uuid": new_uuid(), "volume_id": other}
    rows = update(BLOCK_DEVICES).where(BLOCK_DEVICES.c.instance_uuid == server)
    api.database.write(lambda each: each.execute(rows.values(swap=swap)))


@pytest.mark.parametrize("swapped", [False, True])
def test_an_attachment_goes_unless_a_swap_takes_its_volume_in(api: ApiRig, swapped: bool) -> None:  # noqa: FBT001
    server, volume = api.server(), api.volume()
    if swapped:
        taking_in(api, server, volume)
    held = api.services.attachments.create(volume, server)
    assert held.status is AttachmentStatus.RESERVED
    drop_unused(held, api.services)
    left = api.services.attachments.find(volume, server)
    assert (left is not None) is swapped
