"""Each version of a client certificate is made once, and only the newest ones are kept."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from sidecar.adapters.callers.identity import KEPT, Identities
from sidecar.errors import Unavailable
from sidecar.model.credential import Credential
from sidecar.model.secret import Secret
from tests.fakes.certificates import Authority


class Lines:
    """What was made and what was ended, by number."""

    def __init__(self, ca_file: Path | None) -> None:
        self.made = 0
        self.ended: list[int] = []
        self.identities: Identities[int] = Identities(ca_file, self.make, self.ended.append)

    def make(self, context: ssl.SSLContext) -> int:
        assert context.verify_mode is ssl.CERT_REQUIRED
        self.made += 1
        return self.made


async def test_many_first_uses_make_one_context(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    lines = Lines(authority.file)
    certificate = Credential(Secret(authority.client()), "1")
    assert await asyncio.gather(*(lines.identities.line(certificate) for _ in range(100))) == [1] * 100


async def test_the_newest_versions_are_kept_and_the_others_ended(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    lines = Lines(authority.file)
    versions = [Credential(Secret(authority.client()), str(at)) for at in range(KEPT + 1)]
    for certificate in versions:
        await lines.identities.line(certificate)
    assert lines.ended == [1]
    assert await lines.identities.line(versions[-2]) == KEPT
    lines.identities.retire()
    assert sorted(lines.ended) == list(range(1, KEPT + 2))
    assert lines.identities.lines == ()


async def test_what_is_made_after_the_end_is_not_kept(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    lines = Lines(authority.file)
    lines.identities.retire()
    assert await lines.identities.line(Credential(Secret(authority.client()), "1")) == 1
    assert lines.ended == [1]
    assert lines.identities.lines == ()


async def test_a_version_is_known_by_its_value_and_not_by_its_number(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    lines = Lines(authority.file)
    for _ in range(2):
        await lines.identities.line(Credential(Secret(authority.client()), "1"))
    assert lines.made == 2


async def test_inv_6_a_ca_file_that_went_bad_is_not_named_to_callers(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    lines = Lines(authority.file)
    authority.file.write_text("nothing")
    with pytest.raises(Unavailable) as unavailable:
        await lines.identities.line(Credential(Secret(authority.client()), "1"))
    assert str(tmp_path) not in f"{unavailable.value} {unavailable.value.reasons}"


async def test_what_is_no_certificate_is_unavailable() -> None:
    lines = Lines(None)
    with pytest.raises(Unavailable) as unavailable:
        await lines.identities.line(Credential(Secret("canary"), "1"))
    assert unavailable.value.code == "credential_unavailable"
    assert "canary" not in str(unavailable.value)
    assert lines.made == 0
