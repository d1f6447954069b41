"""``vault://``: HashiCorp Vault and OpenBao."""
