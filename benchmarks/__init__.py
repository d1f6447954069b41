"""One governed call measured beside its peers: ``python -m benchmarks``.

Subjects get the same stream of new payloads from wrk and stand before the same upstream. The run fails unless the
evidence of every governed call is complete, verifies, and agrees with what the upstream counted.
"""
