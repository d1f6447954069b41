"""``sidecar.yaml``: what it may say, how it is read, and how its errors are explained."""
