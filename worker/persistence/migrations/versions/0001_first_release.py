"""The tables of the first release."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What worker/persistence/columns.py said at this version; a migration never changes.
BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
BINARY = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "block_device_mapping",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=True),
        sa.Column("instance_uuid", sa.String(length=36), nullable=True),
        sa.Column("device_name", sa.String(length=255), nullable=True),
        sa.Column("source_type", sa.String(length=255), nullable=True),
        sa.Column("destination_type", sa.String(length=255), nullable=True),
        sa.Column("guest_format", sa.String(length=255), nullable=True),
        sa.Column("device_type", sa.String(length=255), nullable=True),
        sa.Column("disk_bus", sa.String(length=32), nullable=True),
        sa.Column("boot_index", sa.Integer(), nullable=True),
        sa.Column("volume_id", sa.String(length=36), nullable=True),
        sa.Column("volume_size", sa.Integer(), nullable=True),
        sa.Column("volume_type", sa.String(length=255), nullable=True),
        sa.Column("snapshot_id", sa.String(length=36), nullable=True),
        sa.Column("image_id", sa.String(length=36), nullable=True),
        sa.Column("backup_id", sa.String(length=36), nullable=True),
        sa.Column("attachment_id", sa.String(length=36), nullable=True),
        sa.Column("connection_info", LONG_TEXT, nullable=True),
        sa.Column("delete_on_termination", sa.Boolean(), server_default=sa.false(), nullable=True),
        sa.Column("no_device", sa.Boolean(), nullable=True),
        sa.Column("tag", sa.String(length=255), nullable=True),
        sa.Column("alias", sa.String(length=255), nullable=True),
        sa.Column("serial", sa.String(length=255), nullable=True),
        sa.Column("unit", sa.Integer(), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("encrypted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("multiattach", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("deleted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_block_device_mapping"),
        sa.UniqueConstraint("uuid", name="uq_bdm_uuid"),
        sa.UniqueConstraint("instance_uuid", "volume_id", "deleted", name="uq_bdm_volume"),
        sa.UniqueConstraint("instance_uuid", "address", "deleted", name="uq_bdm_address"),
        sa.UniqueConstraint("instance_uuid", "device_name", "deleted", name="uq_bdm_name"),
        sa.UniqueConstraint("instance_uuid", "disk_bus", "unit", "deleted", name="uq_bdm_unit"),
        **BINARY,
    )
    op.create_index("ix_bdm_deleted_at", "block_device_mapping", ["deleted_at"], unique=False)
    op.create_index("ix_bdm_volume_id", "block_device_mapping", ["volume_id"], unique=False)
    op.create_table(
        "connections",
        sa.Column("bdm_uuid", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=191), nullable=False),
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("instance_uuid", sa.String(length=36), nullable=False),
        sa.Column("connection", LONG_TEXT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("bdm_uuid", name="pk_connections"),
        **BINARY,
    )
    op.create_index("ix_connections_host", "connections", ["host"], unique=False)
    op.create_table(
        "instances",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=191), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=True),
        sa.Column("user_id", sa.String(length=255), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("vm_state", sa.String(length=32), nullable=False),
        sa.Column("task_state", sa.String(length=32), nullable=True),
        sa.Column("specification", LONG_TEXT, nullable=False),
        sa.Column("update_sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("deleted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_instances"),
        sa.UniqueConstraint("uuid", "deleted", name="uq_instances_uuid"),
        **BINARY,
    )
    op.create_index("ix_instances_host", "instances", ["host"], unique=False)
    op.create_table(
        "leases",
        sa.Column("host", sa.String(length=191), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("state_folder", sa.String(length=36), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("host", name="pk_leases"),
        **BINARY,
    )
    op.create_table(
        "operations",
        sa.Column("sequence", BIG_ID, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=191), nullable=False),
        sa.Column("method", sa.String(length=64), nullable=False),
        sa.Column("arguments", LONG_TEXT, nullable=False),
        sa.Column("lane", sa.String(length=191), nullable=False),
        sa.Column("instance_uuid", sa.String(length=36), nullable=True),
        sa.Column("block_device_uuid", sa.String(length=36), nullable=True),
        sa.Column("request_id", sa.String(length=255), nullable=True),
        sa.Column("own", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("past_commit_point", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("accepted_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("fault_code", sa.String(length=64), nullable=True),
        sa.Column("fault_message", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name="pk_operations"),
        sa.UniqueConstraint("id", name="uq_operations_id"),
        **BINARY,
    )
    op.create_index("ix_operations_device", "operations", ["block_device_uuid"], unique=False)
    op.create_index("ix_operations_instance", "operations", ["instance_uuid"], unique=False)
    op.create_index("ix_operations_state", "operations", ["host", "state"], unique=False)
    op.create_table(
        "pool_volumes",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("volume_type", sa.String(length=255), nullable=True),
        sa.Column("multiattach", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("encrypted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("path", sa.String(length=700), nullable=False),
        sa.Column("owned", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pool_volumes"),
        sa.UniqueConstraint("path", name="uq_pool_volumes_path"),
        **BINARY,
    )
    op.create_table(
        "updates",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=191), nullable=False),
        sa.Column("instance_uuid", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("payload", LONG_TEXT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("published_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_updates"),
        sa.UniqueConstraint("host", "instance_uuid", "sequence", name="uq_updates_sequence"),
        sa.UniqueConstraint("message_id", name="uq_updates_message_id"),
        **BINARY,
    )
    op.create_index("ix_updates_waiting", "updates", ["host", "published_at", "id"], unique=False)
    op.create_table(
        "pool_attachments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("instance_uuid", sa.String(length=36), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("connection", LONG_TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["volume_id"], ["pool_volumes.id"], name="fk_pool_attachments_volume_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_pool_attachments"),
        sa.UniqueConstraint("volume_id", "instance_uuid", name="uq_pool_attachments_volume_id"),
        **BINARY,
    )
    op.create_table(
        "steps",
        sa.Column("operation_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=191), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("fault_code", sa.String(length=64), nullable=True),
        sa.Column("fault_message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name="fk_steps_operation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("operation_id", "number", name="pk_steps"),
        **BINARY,
    )
