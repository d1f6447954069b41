"""The front desk: one command a module."""
