"""``encrypted://``: credentials in files of ours, sealed under a master key."""
