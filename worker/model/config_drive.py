"""What a config drive says, in the form of OpenStack's that cloud-init and cloudbase-init read.

https://docs.openstack.org/nova/latest/user/metadata.html
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.model.block_device import BlockDevice
from worker.model.build.machine import specification_of
from worker.model.device_metadata import device_metadata
from worker.model.instance import Instance

META_DATA = "openstack/latest/meta_data.json"


def config_drive_files(
    instance: Instance, rows: Sequence[BlockDevice], *, password: str | None = None
) -> Mapping[str, bytes]:
    """Return the drive's files, by path; ``rows`` are the instance's live ones.

    The ``password`` is for the administrator of what the guest boots.
    """
    said = _meta_data(instance) | {"devices": device_metadata(rows, {})}
    if password is not None:
        said["admin_pass"] = password
    return {META_DATA: json.dumps(said, sort_keys=True).encode()}


def _meta_data(instance: Instance) -> dict[str, Any]:
    return {
        "uuid": instance.uuid,
        "name": instance.name,
        "hostname": instance.name,
        "launch_index": 0,
        "project_id": instance.project_id,
        "meta": dict(specification_of(instance).metadata),
    }
