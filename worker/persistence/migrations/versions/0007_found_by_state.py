"""Indexes that find what is live or unsettled among all that an instance or volume ever had."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make each anew, a column longer."""
    op.drop_index("ix_operations_state", "operations")
    op.create_index("ix_operations_state", "operations", ["host", "state", "instance_uuid"])
    op.drop_index("ix_bdm_volume_id", "block_device_mapping")
    op.create_index("ix_bdm_volume_id", "block_device_mapping", ["volume_id", "deleted"])
