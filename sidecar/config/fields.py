"""What the fields of ``sidecar.yaml`` are made of: texts, numbers and names with their bounds, and a section's base.

A bound that is missing cannot be written: there is no "unlimited". Sizes are bytes, durations seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


def about(text: str) -> Meta:
    """The sentence an editor and the README show for a field."""
    return Meta(description=text)


# A title says in words what a pattern or a bound accepts: error messages are made from it.
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$",
        title="an id of at most 64 lower-case letters, digits, dots, dashes and underscores",
        description="lower-case id",
    ),
]
Label = dict[str, str]
Seconds = Annotated[float, Meta(gt=0, le=3600, title="seconds, above 0 and at most 3600")]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1, le=1 << 40)]
Port = Annotated[int, Meta(ge=1, le=65535, title="a port from 1 to 65535")]
HostPort = Annotated[str, Meta(pattern=r"^[^\s/@]+:\d{1,5}$", title="host:port", description="host:port")]
Action = Literal["query", "retrieve", "search", "list"]
Capability = Literal["read", "write", "query", "stream", "batch", "transaction", "search", "vector_search"]
SourceType = Literal["database", "document", "file", "vector", "api", "stream", "custom"]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", title="64 lower-case hexadecimal digits")]
ReferenceText = Annotated[
    str,
    Meta(
        pattern=(
            r"^(vault://[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*(@[1-9][0-9]*)?#[A-Za-z0-9_.-]+"
            r"|aws://[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*(@[A-Za-z0-9_.-]+)?(#[A-Za-z0-9_.-]+)?"
            r"|encrypted://[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?"
            r"|env://[A-Za-z_][A-Za-z0-9_]{0,127})$"
        ),
        max_length=512,
        title="a reference: vault://path#field, encrypted://id, aws://name#field or env://NAME",
        description="a reference, never the secret itself: vault://path#field, encrypted://id, aws://name#field or "
        "env://NAME",
    ),
]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file: unknown keys are refused."""
