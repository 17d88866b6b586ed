"""An index for the live rows of an instance, and one for who holds an attachment."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("ix_bdm_instance", "block_device_mapping", ["instance_uuid", "deleted"])
    op.create_index("ix_bdm_attachment", "block_device_mapping", ["attachment_id"])
