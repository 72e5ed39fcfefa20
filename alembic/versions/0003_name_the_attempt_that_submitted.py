"""Name the attempt that submitted"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("submission", recreate="always") as batch:
        batch.add_column(sa.Column("by_map_id", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("by_idx", sa.BigInteger(), nullable=True))
        batch.add_column(sa.Column("by_number", sa.Integer(), nullable=True))
    op.drop_index("ix_submission_map_id", table_name="submission")
    op.create_index("ix_submission_map_id_first", "submission", ["map_id", "first"], unique=False)
    op.create_index("ix_submission_by_map_id_by_idx", "submission", ["by_map_id", "by_idx"], unique=False)
