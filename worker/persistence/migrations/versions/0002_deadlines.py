"""A deadline for each operation, and the mark of one that ran past it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Add the columns; operations of before have no deadline and were not late."""
    op.add_column("operations", sa.Column("deadline", MOMENT, nullable=True))
    late = sa.Column("late", sa.Boolean(), server_default=sa.false(), nullable=False)
    op.add_column("operations", late)
