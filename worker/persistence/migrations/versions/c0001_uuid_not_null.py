"""No row without a uuid any more: older releases, which write some, are gone by then."""

import sqlalchemy as sa
from alembic import op

revision = "c0001"
down_revision = None
branch_labels = ("contract",)
depends_on = None


def upgrade() -> None:
    """Add NOT NULL; every row has been looked at."""
    if op.get_context().dialect.name in ("mysql", "mariadb"):
        # Otherwise a server without this mode would make NULL an empty text, and say nothing.
        op.execute("SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES')")
    with op.batch_alter_table("block_device_mapping") as table:
        table.alter_column("uuid", existing_type=sa.String(length=36), nullable=False)
