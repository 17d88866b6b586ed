"""Say what a migration of aliases would do."""

from dataclasses import dataclass

from worker.handlers.migrate_aliases import migration_of_instance
from worker.handlers.parts.lacking_peripherals import lacking_of
from worker.model.ids import InstanceId
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAliases:
    """Call: by what the device of each row is found in the instance's persistent layout."""

    instance_uuid: InstanceId


def check_aliases(request: CheckAliases, ports: Ports) -> dict[str, object]:
    """Return it device by device, as ``migrate_aliases`` would tell it; change nothing."""
    instance = ports.instances.get(request.instance_uuid)
    layout = ports.guests.describe(instance.uuid).persistent
    lacking = lacking_of(instance, layout, ports)
    migration = migration_of_instance(instance, layout, ports, lacking)
    return {
        "instance_uuid": instance.uuid,
        "kept": layout is not None,
        "devices": [one.public() for one in migration],
    }
