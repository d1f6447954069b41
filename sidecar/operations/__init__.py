"""Admin verbs, each a small handle of its own. Agent doors import none of them."""
