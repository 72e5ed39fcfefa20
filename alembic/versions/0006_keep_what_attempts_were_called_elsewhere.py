"""Keep what attempts were called in the registry that made them"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "brought",
        sa.Column("map_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("origin_id", sa.Integer(), nullable=False),
        sa.Column("origin_idx", sa.BigInteger(), nullable=False),
        sa.Column("origin_number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("map_id", "idx", "number", name=op.f("pk_brought")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_brought_origin_id_origin_idx"), "brought", ["origin_id", "origin_idx"], unique=False
    )
