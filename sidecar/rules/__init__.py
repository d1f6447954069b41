"""Pure rules: no I/O, no awaiting, no clock of their own."""
