"""``aws://``: AWS Secrets Manager."""
