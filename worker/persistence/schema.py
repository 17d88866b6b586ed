"""The tables. What is unique here is what decides a race; no lock of ours does."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.sql.schema import SchemaItem

from worker.persistence.columns import BIG_ID, Json, Utc

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

UUID = String(36)
HOST = String(191)
WORD = String(32)
LABEL = String(255)


def _table(name: str, *items: SchemaItem) -> Table:
    """MariaDB would compare texts without regard to case, and so take two paths for one."""
    return Table(name, METADATA, *items, mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _zero(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


INSTANCES = _table(
    "instances",
    Column("id", Integer, primary_key=True),
    Column("uuid", UUID, nullable=False),
    Column("host", HOST, nullable=False),
    Column("project_id", LABEL),
    Column("user_id", LABEL),
    Column("name", LABEL, nullable=False),
    Column("vm_state", WORD, nullable=False),
    Column("task_state", WORD),
    Column("specification", Json, nullable=False),
    Column("update_sequence", BigInteger, nullable=False, server_default=text("0")),
    # What another host needs to import it, of one that was released.
    Column("document", Json),
    # What an instance in rescue was booted with, and how it was before.
    Column("rescue", Json),
    Column("created_at", Utc),
    Column("updated_at", Utc),
    Column("deleted_at", Utc),
    _zero("deleted"),
    UniqueConstraint("uuid", "deleted", name="uq_instances_uuid"),
    Index("ix_instances_host", "host"),
)

BLOCK_DEVICES = _table(
    "block_device_mapping",
    Column("id", Integer, primary_key=True),
    # An older release wrote rows without one; filled and made NOT NULL by a later migration.
    Column("uuid", UUID),
    Column("instance_uuid", UUID),
    Column("device_name", LABEL),
    Column("source_type", LABEL),
    Column("destination_type", LABEL),
    Column("guest_format", LABEL),
    Column("device_type", LABEL),
    Column("disk_bus", WORD),
    Column("boot_index", Integer),
    Column("volume_id", UUID),
    Column("volume_size", Integer),
    Column("volume_type", LABEL),
    Column("snapshot_id", UUID),
    Column("image_id", UUID),
    Column("backup_id", UUID),
    Column("attachment_id", UUID),
    Column("connection_info", Json),
    Column("delete_on_termination", Boolean, server_default=false()),
    Column("no_device", Boolean),
    Column("tag", LABEL),
    Column("alias", LABEL),
    Column("serial", LABEL),
    Column("unit", Integer),
    Column("address", String(64)),
    Column("status", WORD, nullable=False),
    _flag("encrypted"),
    _flag("multiattach"),
    # Who the device said that it is, as it was seen at its attach.
    Column("wwid", LABEL),
    # The volume that takes this one's place, while a swap is under way.
    Column("swap", Json),
    Column("created_at", Utc),
    Column("updated_at", Utc),
    Column("deleted_at", Utc),
    _zero("deleted"),
    UniqueConstraint("uuid", name="uq_bdm_uuid"),
    UniqueConstraint("instance_uuid", "volume_id", "deleted", name="uq_bdm_volume"),
    UniqueConstraint("instance_uuid", "device_name", "deleted", name="uq_bdm_name"),
    UniqueConstraint("instance_uuid", "disk_bus", "unit", "deleted", name="uq_bdm_unit"),
    UniqueConstraint("instance_uuid", "address", "deleted", name="uq_bdm_address"),
    Index("uq_bdm_tag", "instance_uuid", "tag", "deleted", unique=True),
    Index("ix_bdm_volume_id", "volume_id", "deleted"),
    # Without it a read of an instance's live rows goes through all that it ever had.
    Index("ix_bdm_instance", "instance_uuid", "deleted"),
    Index("ix_bdm_attachment", "attachment_id"),
    Index("ix_bdm_deleted_at", "deleted_at"),
)

PERIPHERALS = _table(
    "peripherals",
    Column("id", Integer, primary_key=True),
    Column("uuid", UUID, nullable=False),
    # So that a device of a host has one holder, of whatever instance.
    Column("host", HOST, nullable=False),
    Column("instance_uuid", UUID, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("port_id", UUID),
    Column("mac_address", WORD),
    Column("network", WORD),
    Column("target", LABEL),
    Column("model", WORD),
    Column("host_device", String(64)),
    Column("alias", LABEL, nullable=False),
    Column("former", LABEL),
    Column("address", String(64)),
    Column("status", WORD, nullable=False),
    Column("created_at", Utc),
    Column("updated_at", Utc),
    Column("deleted_at", Utc),
    _zero("deleted"),
    UniqueConstraint("uuid", name="uq_peripherals_uuid"),
    UniqueConstraint("instance_uuid", "port_id", "deleted", name="uq_peripherals_port"),
    UniqueConstraint("instance_uuid", "alias", "deleted", name="uq_peripherals_alias"),
    UniqueConstraint("instance_uuid", "address", "deleted", name="uq_peripherals_address"),
    UniqueConstraint("host", "host_device", "deleted", name="uq_peripherals_host_device"),
    Index("ix_peripherals_instance", "instance_uuid", "deleted"),
    Index("ix_peripherals_deleted_at", "deleted_at"),
)

OPERATIONS = _table(
    "operations",
    Column("sequence", BIG_ID, primary_key=True),
    Column("id", UUID, nullable=False),
    Column("host", HOST, nullable=False),
    Column("method", String(64), nullable=False),
    Column("arguments", Json, nullable=False),
    Column("lane", HOST, nullable=False),
    Column("instance_uuid", UUID),
    Column("block_device_uuid", UUID),
    Column("request_id", LABEL),
    _flag("own"),
    Column("state", WORD, nullable=False),
    _zero("attempts"),
    _flag("past_commit_point"),
    # In percent, of one that takes long; and whether it was asked to end early.
    Column("progress", Integer),
    _flag("cancel_requested"),
    Column("accepted_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("started_at", Utc),
    Column("deadline", Utc),
    _flag("late"),
    Column("ended_at", Utc),
    Column("fault_code", String(64)),
    Column("fault_message", Text),
    UniqueConstraint("id", name="uq_operations_id"),
    # Each operation asks at its beginning what of its instance is unsettled.
    Index("ix_operations_state", "host", "state", "instance_uuid"),
    Index("ix_operations_instance", "instance_uuid"),
    Index("ix_operations_device", "block_device_uuid"),
    # What is being made is asked for across hosts, and is nobody's row yet.
    Index("ix_operations_method", "method", "state"),
)

STEPS = _table(
    "steps",
    Column("operation_id", UUID, ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),
    Column("name", String(191), nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("seconds", Double),
    Column("outcome", WORD, nullable=False),
    Column("fault_code", String(64)),
    Column("fault_message", Text),
)

UPDATES = _table(
    "updates",
    Column("id", BIG_ID, primary_key=True),
    Column("message_id", UUID, nullable=False),
    Column("host", HOST, nullable=False),
    # Empty, not NULL, without an instance: a unique key would let any number of NULLs pass.
    Column("instance_uuid", UUID, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("event", String(64), nullable=False),
    Column("payload", Json, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("published_at", Utc),
    UniqueConstraint("message_id", name="uq_updates_message_id"),
    UniqueConstraint("host", "instance_uuid", "sequence", name="uq_updates_sequence"),
    Index("ix_updates_waiting", "host", "published_at", "id"),
)

CONNECTIONS = _table(
    "connections",
    Column("bdm_uuid", UUID, primary_key=True),
    Column("host", HOST, nullable=False),
    Column("volume_id", UUID, nullable=False),
    Column("instance_uuid", UUID, nullable=False),
    Column("connection", Json, nullable=False),
    Column("created_at", Utc, nullable=False),
    Index("ix_connections_host", "host"),
)

LEASES = _table(
    "leases",
    Column("host", HOST, primary_key=True),
    Column("owner", LABEL, nullable=False),
    Column("state_folder", UUID, nullable=False),
    Column("expires_at", Utc, nullable=False),
)

POOL_VOLUMES = _table(
    "pool_volumes",
    Column("id", UUID, primary_key=True),
    Column("name", LABEL, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("status", WORD, nullable=False),
    Column("volume_type", LABEL),
    _flag("multiattach"),
    _flag("encrypted"),
    # As long as MariaDB's keys allow: 700 characters of four bytes each.
    Column("path", String(700), nullable=False),
    _flag("owned"),
    # What its connections say beside the path: limits, block sizes, discard.
    Column("options", Json),
    # NULL: an operator's, which no project sees.
    Column("project_id", LABEL),
    # Who made it, for it is that one's file.
    Column("host", HOST),
    Column("created_at", Utc),
    UniqueConstraint("path", name="uq_pool_volumes_path"),
)

POOL_ATTACHMENTS = _table(
    "pool_attachments",
    Column("id", UUID, primary_key=True),
    Column("volume_id", UUID, ForeignKey("pool_volumes.id"), nullable=False),
    Column("instance_uuid", UUID),
    Column("status", WORD, nullable=False),
    Column("connection", Json),
    UniqueConstraint("volume_id", "instance_uuid", name="uq_pool_attachments_volume_id"),
)
