"""The steps by which a registry comes to its present form, in order; run by Alembic."""
