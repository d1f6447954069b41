"""Doors: bytes to Call, Outcome to bytes. No decisions."""
