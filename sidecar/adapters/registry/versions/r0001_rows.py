"""The rows of every tenant, and each tenant's sequence.

Ids are compared byte by byte, so that every database has them in the same order (of UTF-8, which is that of code
points). Documents are kept as the text they came as: a JSON type of a database refuses or changes some.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

TABLES = ("registry_rows", "registry_heads")


def upgrade() -> None:
    """Make both tables; in PostgreSQL a session sees and writes the rows of the tenant it was opened for only."""
    postgres = op.get_context().dialect.name == "postgresql"
    ordered = sa.Text(collation="C") if postgres else sa.Text()
    op.create_table(
        "registry_heads",
        sa.Column("tenant", sa.Text(), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "registry_rows",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", ordered, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("written_by", sa.Text(), nullable=False),
        sa.Column("written_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", "id"),
    )
    op.create_index("registry_rows_sequence", "registry_rows", ["tenant", "sequence"], unique=True)
    if postgres:
        own = "tenant = current_setting('sidecar.tenant', true)"
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY own_tenant ON {table} USING ({own}) WITH CHECK ({own})")


def downgrade() -> None:
    """Drop both tables, with everything in them."""
    for table in reversed(TABLES):
        op.drop_table(table)
