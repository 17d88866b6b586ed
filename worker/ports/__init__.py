"""What the core needs of the world, and nothing more.

Adapters and the tests' fakes subclass these. Every method that changes something outside looks
before it acts: called again after it has happened, it does nothing and answers the same. What
undoes accepts that there is nothing to undo. Errors are those of ``worker.errors``.
"""

from dataclasses import dataclass, field

from worker.model.rescue.words import RescueSettings
from worker.model.source import DiskFormat
from worker.ports.block_copies import BlockCopies
from worker.ports.clock import Clock
from worker.ports.hypervisor import (
    GuestDisks,
    GuestInsides,
    GuestPeripherals,
    Guests,
    GuestSecrets,
    Machines,
    Power,
)
from worker.ports.images import (
    ConfigDrives,
    ImageListing,
    Images,
    LocalDisks,
    ProjectImages,
)
from worker.ports.journal import (
    Cancelling,
    OperationRecord,
    Operations,
    Outbox,
    Progress,
    Seals,
    StuckOperations,
    Updates,
)
from worker.ports.leftovers import Leftovers
from worker.ports.moving import Autostart, Definitions, HostFiles, Moves, OwnOperations
from worker.ports.records import BlockDevices, Connections, Instances, Peripherals
from worker.ports.rescue import Rescues
from worker.ports.tally import Tally
from worker.ports.volumes import (
    Attachments,
    Connector,
    Keys,
    PoolReading,
    PoolRecords,
    PoolVolumes,
    Sharing,
    Volumes,
)

__all__ = [
    "Attachments",
    "Autostart",
    "BlockCopies",
    "BlockDevices",
    "Cancelling",
    "Clock",
    "ConfigDrives",
    "Connections",
    "Connector",
    "Definitions",
    "GuestDisks",
    "GuestInsides",
    "GuestPeripherals",
    "GuestSecrets",
    "Guests",
    "HostFiles",
    "ImageListing",
    "Images",
    "Instances",
    "Keys",
    "Leftovers",
    "LocalDisks",
    "Machines",
    "Moves",
    "OperationRecord",
    "Operations",
    "Outbox",
    "Outside",
    "OwnOperations",
    "Peripherals",
    "PoolReading",
    "PoolRecords",
    "PoolVolumes",
    "Ports",
    "Power",
    "Progress",
    "ProjectImages",
    "Rescues",
    "Seals",
    "Sharing",
    "StuckOperations",
    "Tally",
    "Updates",
    "Volumes",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The ports whose calls leave the worker; each call made for an operation is a step."""

    guests: Guests
    disks: GuestDisks
    block_copies: BlockCopies
    guest_peripherals: GuestPeripherals
    guest_secrets: GuestSecrets
    insides: GuestInsides
    machines: Machines
    power: Power
    rescues: Rescues
    definitions: Definitions
    autostart: Autostart
    host_files: HostFiles
    images: Images
    local_disks: LocalDisks
    config_drives: ConfigDrives
    volumes: Volumes
    attachments: Attachments
    keys: Keys
    pool: PoolVolumes
    connector: Connector
    leftovers: Leftovers


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports(Outside):
    """All of the world that one request may touch: the outside, the journal and what is beside it.

    ``shutdown_timeout`` is how many seconds a guest gets to power itself off; local disks of new
    instances are made in the ``local_disk_format``; ``rescue`` is what the operator has chosen for
    rescues.
    """

    host: str
    max_disk_devices: int
    shutdown_timeout: float = 60.0
    local_disk_format: DiskFormat = DiskFormat.QCOW2
    rescue: RescueSettings = field(default_factory=RescueSettings)
    sharing: Sharing
    devices: BlockDevices
    peripherals: Peripherals
    connections: Connections
    instances: Instances
    moves: Moves
    own_operations: OwnOperations
    updates: Updates
    operations: Operations
    stuck: StuckOperations
    cancelling: Cancelling
    progress: Progress
    seals: Seals
    tally: Tally
    clock: Clock
