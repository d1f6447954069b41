"""The one path of a call: ``handle.py``, and one small step a file."""
