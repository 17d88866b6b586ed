"""What a config drive says, in the form of OpenStack's that cloud-init and cloudbase-init read.

https://docs.openstack.org/nova/latest/user/metadata.html
"""

import json
from collections.abc import Mapping
from typing import Any

from worker.model.build_machine import specification_of
from worker.model.instance import Instance

META_DATA = "openstack/latest/meta_data.json"


def config_drive_files(instance: Instance) -> Mapping[str, bytes]:
    """Return the drive's files, by path."""
    return {META_DATA: json.dumps(_meta_data(instance), sort_keys=True).encode()}


def _meta_data(instance: Instance) -> dict[str, Any]:
    return {
        "uuid": instance.uuid,
        "name": instance.name,
        "hostname": instance.name,
        "launch_index": 0,
        "project_id": instance.project_id,
        "meta": dict(specification_of(instance).metadata),
    }
