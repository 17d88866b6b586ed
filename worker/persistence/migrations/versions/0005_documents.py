"""The document of an instance that was released."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")


def upgrade() -> None:
    """Add the column; what an older release has let go has no document."""
    op.add_column("instances", sa.Column("document", LONG_TEXT, nullable=True))
