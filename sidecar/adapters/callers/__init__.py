"""What sends a permitted call, one a connector kind."""
