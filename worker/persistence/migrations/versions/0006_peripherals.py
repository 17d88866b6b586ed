"""The table of interfaces and host devices."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Make it; what an older release has built or adopted gets its rows at the next start."""
    table = "peripherals"
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=191), nullable=False),
        sa.Column("instance_uuid", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("port_id", sa.String(length=36), nullable=True),
        sa.Column("mac_address", sa.String(length=32), nullable=True),
        sa.Column("network", sa.String(length=32), nullable=True),
        sa.Column("target", sa.String(length=255), nullable=True),
        sa.Column("model", sa.String(length=32), nullable=True),
        sa.Column("host_device", sa.String(length=64), nullable=True),
        sa.Column("alias", sa.String(length=255), nullable=False),
        sa.Column("former", sa.String(length=255), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("deleted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_peripherals"),
        sa.UniqueConstraint("uuid", name="uq_peripherals_uuid"),
        sa.UniqueConstraint("instance_uuid", "port_id", "deleted", name="uq_peripherals_port"),
        sa.UniqueConstraint("instance_uuid", "alias", "deleted", name="uq_peripherals_alias"),
        sa.UniqueConstraint("instance_uuid", "address", "deleted", name="uq_peripherals_address"),
        sa.UniqueConstraint("host", "host_device", "deleted", name="uq_peripherals_host_device"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.create_index("ix_peripherals_instance", table, ["instance_uuid", "deleted"])
    op.create_index("ix_peripherals_deleted_at", table, ["deleted_at"])
