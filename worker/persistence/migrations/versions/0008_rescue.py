"""What an instance in rescue was booted with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")


def upgrade() -> None:
    """Add the column; no instance of before is in rescue."""
    op.add_column("instances", sa.Column("rescue", LONG_TEXT, nullable=True))
