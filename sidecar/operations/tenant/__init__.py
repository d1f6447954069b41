"""What a tenant's own people may do."""
