"""What only the operators of the sidecar may do, not the people of a tenant."""
