from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.adapters.credentials.remote.held import Vessel
from sidecar.adapters.credentials.remote.store import Fetched
from sidecar.model.secret import Secret
from sidecar.rules.credential_types import ends
from sidecar.rules.sealing import Opener, SealBrokenError
from tests.fakes.certificates import Authority

KEY = bytes(range(32))
FETCHED = Fetched({"user": Secret("somebody"), "password": Secret("canary-12345678")}, "3", 60.0)


def test_it_is_due_at_two_thirds_of_its_time_and_over_at_its_end() -> None:
    held = Vessel(KEY).held("secret/crm", FETCHED, 100.0)
    assert (held.asked, held.due, held.until) == (100.0, 140.0, 160.0)
    held.extend(140.0, 30.0)
    assert (held.asked, held.due, held.until, held.seconds) == (140.0, 160.0, 170.0, 60.0)


def test_c05_no_bit_of_a_sealed_value_changes_unnoticed() -> None:
    opener = Vessel(KEY).held("secret/crm", FETCHED, 0.0).fields["password"]
    assert opener.plain() == b"canary-12345678"
    for at in range(len(opener._sealed)):
        changed = bytearray(opener._sealed)
        changed[at] ^= 1
        with pytest.raises(SealBrokenError):
            Opener.of(KEY, bytes(changed), opener._context).plain()


def test_no_field_opens_as_another_or_elsewhere() -> None:
    vessel = Vessel(KEY)
    fields = vessel.held("secret/crm", FETCHED, 0.0).fields
    elsewhere = vessel.held("secret/other", FETCHED, 0.0).fields
    for context in (fields["user"]._context, elsewhere["password"]._context):
        with pytest.raises(SealBrokenError):
            Opener.of(KEY, fields["password"]._sealed, context).plain()


def test_c05_no_nonce_comes_twice() -> None:
    vessel = Vessel(KEY)
    held = [vessel.held("secret/crm", FETCHED, 0.0).fields["password"]._sealed for _ in range(100)]
    assert len({sealed[1:29] for sealed in held}) == 100  # salt and nonce


def test_a_field_ends_as_its_terms_say_or_a_certificate_of_itself_if_earlier(tmp_path: Path) -> None:
    plain = Authority(tmp_path).client(days=2)
    own = ends("CERTIFICATE", plain)
    assert own is not None
    fields = {"pem": Secret(plain), "note": Secret("somebody")}
    for said, pem in ((None, own), (own + 1, own), (own - 1, own - 1)):
        held = Vessel(KEY).held("secret/crm", Fetched(fields, "3", 60.0, None, "CERTIFICATE", said), 0.0)
        assert (held.kind, held.ends) == ("CERTIFICATE", {"pem": pem, "note": said})
    assert Vessel(KEY).held("secret/crm", FETCHED, 0.0).ends == {"user": None, "password": None}


def test_a98_a_certificate_ends_of_itself_though_nobody_said_what_it_is(tmp_path: Path) -> None:
    plain = Authority(tmp_path).client(days=2)
    fields = {"pem": Secret(plain), "note": Secret("somebody")}
    held = Vessel(KEY).held("secret/crm", Fetched(fields, "3", 60.0), 0.0)
    assert held.ends == {"pem": ends("CERTIFICATE", plain), "note": None}
    assert held.ends["pem"] is not None
