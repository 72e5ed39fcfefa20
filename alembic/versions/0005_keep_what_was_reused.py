"""Keep which results were made by attempts of other maps"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "origin",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("map", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_origin")),
        sa.UniqueConstraint("registry", "map", name=op.f("uq_origin_registry_map")),
    )
    op.create_table(
        "reused",
        sa.Column("map_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin_id", sa.Integer(), nullable=False),
        sa.Column("origin_idx", sa.BigInteger(), nullable=False),
        sa.Column("origin_number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("map_id", "idx", name=op.f("pk_reused")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_reused_origin_id_origin_idx"), "reused", ["origin_id", "origin_idx"], unique=False
    )
    for name in ("taken", "reused"):
        op.add_column("tally", sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")))
