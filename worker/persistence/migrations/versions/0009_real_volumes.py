"""What a device says that it is, swaps, progress, and what a pool volume's connections say."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")


def upgrade() -> None:
    """Add the columns; no row of before has anything to say in them."""
    op.add_column("block_device_mapping", sa.Column("wwid", sa.String(255), nullable=True))
    op.add_column("block_device_mapping", sa.Column("swap", LONG_TEXT, nullable=True))
    op.add_column("operations", sa.Column("progress", sa.Integer, nullable=True))
    op.add_column(
        "operations",
        sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.add_column("pool_volumes", sa.Column("options", LONG_TEXT, nullable=True))
