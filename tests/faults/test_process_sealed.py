"""A whole sidecar whose sealed store or master key is wrong: told at the start, or refused with a reason."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.adapters.credentials.sealed import master_key
from tests.e2e.far import Far
from tests.e2e.house import Answer, House, comes_true
from tests.e2e.secure import HOST, SECRET, STORE, everything_written, found, secure
from tests.fakes.certificates import Authority

Secured = tuple[House, Far]
OTHER = "other-4ac81f07d2"


def prepare(folder: Path, port: int, authority: Authority) -> House:
    (folder / "house").mkdir()
    house = House(folder / "house", port)
    secure(house, port, authority.file)
    assert house.sidecar("credentials", "put", "other", given=OTHER).returncode == 0
    return house


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    """Not started yet."""
    authority = Authority(tmp_path)
    with Far(authority.server(HOST)) as far:
        house = prepare(tmp_path, far.port, authority)
        yield house, far
        house.kill()


@pytest.fixture(scope="module")
def unstarted(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("unstarted")
    return prepare(folder, 9, Authority(folder))


@pytest.fixture
def keyed(unstarted: House) -> Iterator[House]:
    """``unstarted``, whose master key is what it was afterwards."""
    key = key_file(unstarted)
    good = key.read_bytes()
    yield unstarted
    key.unlink(missing_ok=True)
    key.touch(mode=0o600)
    key.write_bytes(good)


def key_file(house: House) -> Path:
    return house.folder / STORE / "master.key"


def sealed(house: House, name: str = "token") -> Path:
    return house.folder / STORE / f"{name}.sealed"


def check_refused(house: House, refused: Answer, reason: str) -> None:
    """Code, reason, evidence; and no secret anywhere."""
    assert (refused.status, refused.code) == (502, "credential_unavailable")
    assert [one["code"] for one in refused.document["reasons"]] == [reason]
    record = house.evidence(refused.evidence_id).document
    assert record["code"] == "credential_unavailable"
    told = {"answer": refused.body, "record": str(record).encode(), "metrics": house.probe("/metrics").body}
    for secret in (SECRET, OTHER, key_file(house).read_text().split()[-1]):
        assert found(secret, told | everything_written(house.folder)) == []
    assert str(house.folder) not in refused.body.decode()


def lose(key: Path) -> None:
    key.unlink()


def open_to_all(key: Path) -> None:
    key.chmod(0o644)


def zeros(key: Path) -> None:
    key.write_text("0" * 64)


def a_word(key: Path) -> None:
    key.write_text(base64.b64encode(b"changeme" * 4).decode())


def counting(key: Path) -> None:
    key.write_bytes(base64.b64encode(bytes(range(32))))


def short(key: Path) -> None:
    key.write_text("ab" * 16)


def nothing(key: Path) -> None:
    key.write_text("")


def damaged(key: Path) -> None:
    name, value = key.read_text().split()
    key.write_text(f"{name} {value.swapcase()}\n")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lose, "no master key"),
        (open_to_all, "0600"),
        (zeros, "not random"),
        (a_word, "not random"),
        (counting, "not random"),
        (short, "24 bytes"),
        (nothing, "empty"),
        (damaged, "damaged"),
    ],
)
def test_p11_without_a_master_key_of_its_own_a_sidecar_does_not_start(
    keyed: House, spoil: Callable[[Path], None], told: str
) -> None:
    kept = key_file(keyed).read_text().split()[1]
    spoil(key_file(keyed))
    done = keyed.sidecar("run")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "master.key" in said
    assert told in said
    assert "Traceback" not in said
    for text in (SECRET, kept, "changeme", "000000"):
        assert text not in said
    assert not (keyed.folder / "evidence").exists()


def test_c05_under_another_master_key_nothing_opens_until_the_right_one_is_back(secured: Secured) -> None:
    house, far = secured
    right = key_file(house).read_text()
    master_key.store(key_file(house), [master_key.generate()])
    house.start()
    check_refused(house, house.operation("write"), "unknown_master_key")
    assert far.seen == []
    key_file(house).write_text(right)
    assert house.operation("write").status == 200  # without a restart
    assert far.seen[-1].headers["authorization"] == f"Bearer {SECRET}"


def test_c05_a_bit_that_flips_in_a_sealed_value_is_seen_at_the_next_call(secured: Secured) -> None:
    house, far = secured
    house.start()
    assert house.operation("write").status == 200
    whole = sealed(house).read_bytes()
    for at in (whole.index(b'"value"') + 20, whole.index(b'"wrapped_key"') + 40, whole.index(b'"version"') + 10):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        sealed(house).write_bytes(flipped)
        check_refused(house, house.operation("write"), "seal_broken")
    assert len(far.seen) == 1
    sealed(house).write_bytes(whole)
    assert comes_true(lambda: house.operation("write").status == 200)
    assert house.stop() == 0
    assert house.verified().unknown == []


def test_c06_a_credential_under_anothers_name_does_not_open(secured: Secured) -> None:
    house, far = secured
    house.start()
    assert house.operation("write").status == 200
    shutil.copy(sealed(house, "other"), sealed(house))
    check_refused(house, house.operation("write"), "seal_broken")
    sealed(house).unlink()
    check_refused(house, house.operation("write"), "no_such_secret")
    sealed(house, "other").rename(sealed(house))
    check_refused(house, house.operation("write"), "seal_broken")
    assert len(far.seen) == 1


def test_a_sealed_file_that_others_may_read_is_not_used(secured: Secured) -> None:
    house, far = secured
    house.start()
    sealed(house).chmod(0o644)
    check_refused(house, house.operation("write"), "store_unreadable")
    sealed(house).chmod(0o600)
    assert house.operation("write").status == 200
    assert len(far.seen) == 1


def test_a87_a_line_break_in_a_secret_is_not_stored(secured: Secured) -> None:
    house, far = secured
    for value in ("one-12345678\r\nX-Evil: two", "one-12345678\nX-Evil: two", "one-12345678\0two"):
        done = house.sidecar("credentials", "rotate", "token", given=value)
        assert done.returncode == 1
        assert "one-1234" not in done.stdout + done.stderr
    house.start()
    assert house.operation("write").status == 200
    assert far.seen[-1].headers["authorization"] == f"Bearer {SECRET}"
    assert "x-evil" not in far.seen[-1].headers
