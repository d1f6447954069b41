"""Credential sources, one a reference scheme."""
