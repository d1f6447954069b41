"""A policy-as-code sidecar proxy: one sidecar beside one agent pod, for one tenant.

The nouns, used with exactly these meanings in every room:

Call         what the agent asks, on any surface.
Principal    who asks.
Connector    a machine-controlled destination.
Operation    one template of a connector: an HTTP endpoint, an SQL query, an MCP tool, a file verb.
Decision     the policy's answer, with its obligations.
Permit       the proof of an allow, the only thing execution accepts.
Credential   what is injected, by reference.
Evidence     the durable record of intent and outcome.

The whole path of a call is one file: :mod:`sidecar.pipeline.handle`.
"""

__version__ = "0.1.0"
