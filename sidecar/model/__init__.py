"""Frozen values that cross rooms. Nothing here does I/O, awaits or decides."""
