"""Make the registry"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "artifact",
        sa.Column("map_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("place", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("map_id", "idx", "number", "role", "name", name=op.f("pk_artifact")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_artifact_digest", "artifact", ["digest"], unique=False)
    op.create_table(
        "attempt",
        sa.Column("map_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("context_id", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=True),
        sa.Column("wall", sa.BigInteger(), nullable=True),
        sa.Column("cpu", sa.BigInteger(), nullable=True),
        sa.Column("max_rss", sa.BigInteger(), nullable=True),
        sa.Column("rss_shared", sa.SmallInteger(), nullable=True),
        sa.Column("detail", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("result_digest", sa.LargeBinary(), nullable=True),
        sa.Column("log", sa.Text(), nullable=True),
        sa.Column("trail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("map_id", "idx", "number", name=op.f("pk_attempt")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "code",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("captured", sa.BigInteger(), nullable=False),
        sa.Column("patch", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_code")),
        sa.UniqueConstraint("digest", name=op.f("uq_code_digest")),
    )
    op.create_table(
        "environment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("captured", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environment")),
        sa.UniqueConstraint("digest", name=op.f("uq_environment_digest")),
    )
    op.create_table(
        "host",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host")),
        sa.UniqueConstraint("digest", name=op.f("uq_host_digest")),
    )
    op.create_table(
        "inputs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inputs")),
        sa.UniqueConstraint("digest", name=op.f("uq_inputs_digest")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("ranks", sa.Integer(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("uuid", name=op.f("uq_job_uuid")),
    )
    op.create_table(
        "recipe",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipe")),
        sa.UniqueConstraint("digest", name=op.f("uq_recipe_digest")),
    )
    op.create_table(
        "registry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry")),
    )
    op.create_table(
        "tally",
        sa.Column("map_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("context_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("noresult", sa.BigInteger(), nullable=False),
        sa.Column("wall", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=True),
        sa.Column("last", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("map_id", "context_id", "outcome", name=op.f("pk_tally")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "task",
        sa.Column("map_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("accepted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fails", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("upstream", sa.BigInteger(), nullable=True),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("limits", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("map_id", "idx", name=op.f("pk_task")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_task_failed",
        "task",
        ["map_id", "state", "idx"],
        unique=False,
        sqlite_where=sa.text("state = 4"),
        postgresql_where=sa.text("state = 4"),
    )
    op.create_index(
        "ix_task_pending",
        "task",
        ["map_id", "priority", "idx"],
        unique=False,
        sqlite_where=sa.text("state = 1"),
        postgresql_where=sa.text("state = 1"),
    )
    op.create_index(
        "ix_task_running",
        "task",
        ["job_id", "map_id", "idx"],
        unique=False,
        sqlite_where=sa.text("state = 2"),
        postgresql_where=sa.text("state = 2"),
    )
    op.create_index(
        "ix_task_upstream",
        "task",
        ["map_id", "upstream"],
        unique=False,
        sqlite_where=sa.text("upstream is not null"),
        postgresql_where=sa.text("upstream is not null"),
    )
    op.create_table(
        "uses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uses")),
        sa.UniqueConstraint("digest", name=op.f("uq_uses_digest")),
    )
    op.create_table(
        "context",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("code_id", sa.Integer(), nullable=False),
        sa.Column("code_after_id", sa.Integer(), nullable=True),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("uses_id", sa.Integer(), nullable=True),
        sa.Column("inputs_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["code_after_id"], ["code.id"], name=op.f("fk_context_code_after_id")),
        sa.ForeignKeyConstraint(["code_id"], ["code.id"], name=op.f("fk_context_code_id")),
        sa.ForeignKeyConstraint(["environment_id"], ["environment.id"], name=op.f("fk_context_environment_id")),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_context_host_id")),
        sa.ForeignKeyConstraint(["inputs_id"], ["inputs.id"], name=op.f("fk_context_inputs_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_context_job_id")),
        sa.ForeignKeyConstraint(["uses_id"], ["uses.id"], name=op.f("fk_context_uses_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_context")),
        sa.UniqueConstraint("digest", name=op.f("uq_context_digest")),
    )
    op.create_table(
        "map",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("recipe_id", sa.Integer(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("workdir", sa.Text(), nullable=False),
        sa.Column("own", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("code_id", sa.Integer(), nullable=False),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("staged", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["code_id"], ["code.id"], name=op.f("fk_map_code_id")),
        sa.ForeignKeyConstraint(["environment_id"], ["environment.id"], name=op.f("fk_map_environment_id")),
        sa.ForeignKeyConstraint(["recipe_id"], ["recipe.id"], name=op.f("fk_map_recipe_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_map")),
        sa.UniqueConstraint("name", name=op.f("uq_map_name")),
    )
    op.create_table(
        "counter",
        sa.Column("map_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["map_id"], ["map.id"], name=op.f("fk_counter_map_id")),
        sa.PrimaryKeyConstraint("map_id", "state", name=op.f("pk_counter")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dependency",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("map_id", sa.Integer(), nullable=False),
        sa.Column("upstream_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("by_names", sa.Text(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("on_failed", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=True),
        sa.Column("last", sa.BigInteger(), nullable=True),
        sa.Column("upstream_tasks", sa.Text(), nullable=True),
        sa.Column("missing", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["map_id"], ["map.id"], name=op.f("fk_dependency_map_id")),
        sa.ForeignKeyConstraint(["upstream_id"], ["map.id"], name=op.f("fk_dependency_upstream_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dependency")),
    )
    op.create_index("ix_dependency_map_id", "dependency", ["map_id"], unique=False)
    op.create_index("ix_dependency_upstream_id", "dependency", ["upstream_id"], unique=False)
    op.create_table(
        "part",
        sa.Column("map_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("ident", sa.Text(), nullable=False),
        sa.Column("members", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["map_id"], ["map.id"], name=op.f("fk_part_map_id")),
        sa.PrimaryKeyConstraint("map_id", "number", name=op.f("pk_part")),
    )
    op.create_index("ix_part_map_id_ident", "part", ["map_id", "ident"], unique=True)
    op.create_table(
        "point",
        sa.Column("map_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["map_id"], ["map.id"], name=op.f("fk_point_map_id")),
        sa.PrimaryKeyConstraint("map_id", "number", name=op.f("pk_point")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "submission",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("map_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("code_id", sa.Integer(), nullable=False),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("added", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["code_id"], ["code.id"], name=op.f("fk_submission_code_id")),
        sa.ForeignKeyConstraint(["environment_id"], ["environment.id"], name=op.f("fk_submission_environment_id")),
        sa.ForeignKeyConstraint(["map_id"], ["map.id"], name=op.f("fk_submission_map_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission")),
    )
    op.create_index("ix_submission_map_id", "submission", ["map_id"], unique=False)


def downgrade() -> None:
    raise RuntimeError("nothing comes before the first revision")
