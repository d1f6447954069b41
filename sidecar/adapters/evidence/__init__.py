"""The evidence log on disk."""
