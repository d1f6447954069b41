from __future__ import annotations

import msgspec

from sidecar.model.activation import ACTIVATED, BY_SOURCE, Activation


def test_an_entry_is_one_line_of_json_and_leaves_out_what_is_not_known() -> None:
    entry = Activation(number=1, time=2, outcome=ACTIVATED, origin="bundle.tar.gz", by=BY_SOURCE)
    line = msgspec.json.encode(entry)
    assert b"\n" not in line
    assert b"errors" not in line
    assert msgspec.json.decode(line, type=Activation) == entry
