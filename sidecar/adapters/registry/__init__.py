"""What changes at run time, kept: SQLite beside the configuration, or a PostgreSQL that sidecars share."""
