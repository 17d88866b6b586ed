"""One tag, one live disk of an instance."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the key; a tag that is not there collides with none."""
    columns = ["instance_uuid", "tag", "deleted"]
    op.create_index("uq_bdm_tag", "block_device_mapping", columns, unique=True)
