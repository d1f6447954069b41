"""What every remote store of secrets shares: asked in threads, bounded, cached as ciphertext, administered."""
