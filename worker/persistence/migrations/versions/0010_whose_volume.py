"""Whose a volume of the pool is, which host made it and when; what the journal has of a method."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Add the columns; volumes of before are an operator's, and made who knows where and when."""
    op.add_column("pool_volumes", sa.Column("project_id", sa.String(255), nullable=True))
    op.add_column("pool_volumes", sa.Column("host", sa.String(191), nullable=True))
    op.add_column("pool_volumes", sa.Column("created_at", MOMENT, nullable=True))
    op.create_index("ix_operations_method", "operations", ["method", "state"])
