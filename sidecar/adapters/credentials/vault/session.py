"""Being logged in to a Vault or OpenBao server: by whom, until when, and again when it ends.

hvac is synchronous, so all of this runs in threads; one of them logs in while the others wait for it. The connection
takes nothing from the environment (no ``VAULT_*``, no proxy, no ``.netrc``), and follows no redirect: hvac would send
the token along to wherever it leads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import hvac
import requests

from sidecar.adapters.credentials.remote.connections import POOLS, check_whole
from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.remote.values import stated_seconds
from sidecar.adapters.credentials.vault.errors import understood
from sidecar.adapters.credentials.vault.login import Granted, log_in, proof
from sidecar.adapters.trust import untrusting
from sidecar.config.remotes import VaultSection
from sidecar.model.secret import Secret

RENEWED_AT: Final = 2 / 3  # of the time a token is good for
_SHRUNK: Final = 3  # a renewal that gives less than this part of the first time: the token's end is near
# Seconds until a refused proof is tried again, one after the other. A server locks an AppRole out after
# five refusals in 15 minutes (Vault's user lockout), so there it is four at the most. Another proof is tried at once.
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_APPROLE_PAUSES: Final = (5.0, 50.0, 500.0, 600.0)

Result = TypeVar("Result")


class Login(NamedTuple):
    """A token and its time. ``number`` changes with the token: what was lent under an old one ends with that."""

    number: int
    token: Secret
    seconds: float  # good for, when it was first granted
    due: float  # monotonic seconds: to be renewed from here on
    until: float  # and never used from here on
    renewable: bool


class _Adapter(requests.adapters.HTTPAdapter):
    """Connections that can be cut, and that trust what they are told to on every Python alike."""

    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        super().init_poolmanager(*given, **named, ssl_context=untrusting())
        self.poolmanager.pool_classes_by_scheme = POOLS


class VaultSession:
    """Thread-safe. Every method raises ``StoreFailure``, and blocks for a few times ``timeout_seconds`` at most."""

    def __init__(self, section: VaultSection, directory: Path, monotonic: Callable[[], float]) -> None:
        self._section = section
        self._directory = directory
        self._monotonic = monotonic
        self._connection = requests.Session()
        self._connection.trust_env = False
        adapter = _Adapter()
        for prefix in ("http://", "https://"):
            self._connection.mount(prefix, adapter)
        self._connection.hooks["response"].append(_came)
        self._connection.verify = str(directory / section.ca_file) if section.ca_file else True
        self._login: Login | None = None
        self._logins = 0
        self._alone = threading.Lock()
        self._refused: tuple[Secret, int, float] | None = None  # the proof, how often, and when it may be tried again

    @property
    def number(self) -> int:
        """Of the login in use."""
        return self._login.number if self._login else 0

    def run(self, work: Callable[[hvac.Client], Result], **over: str) -> tuple[Result, Login]:
        """Do ``work`` as who is logged in, logging in first where need be, and again where the token is dead.

        ``over`` as in ``errors.understood``.
        """
        login = self._ready()
        try:
            return self._worked(work, login, over), login
        except StoreFailure as failure:
            if failure.code != "store_forbidden" or self._is_alive(login):
                raise
        login = self._ready(dead=login)
        return self._worked(work, login, over), login

    def left(self, login: Login) -> float:
        """How many seconds a login still holds."""
        return login.until - self._monotonic()

    def close(self) -> None:
        """Revoke the token, and with it all that hangs on it, unless it was given to us in a file."""
        login, self._login = self._login, None
        try:
            if login is not None and self._section.login.method != "token":
                self._worked(lambda client: client.auth.token.revoke_self(), login, {})
        finally:
            self._connection.close()

    def _worked(self, work: Callable[[hvac.Client], Result], login: Login, over: dict[str, str]) -> Result:
        with understood(**over):
            return work(self._client(login.token))

    def _client(self, token: Secret | None) -> hvac.Client:
        return hvac.Client(
            url=self._section.address,
            token=token.reveal().decode() if token else "",
            cert=None,
            verify=self._connection.verify,
            timeout=self._section.timeout_seconds,
            proxies={},
            allow_redirects=False,
            session=self._connection,
            namespace=self._section.namespace,
        )

    def _is_alive(self, login: Login) -> bool:
        """Whether a token that was refused something is itself still good: then the refusal is about the path."""
        try:
            self._worked(lambda client: client.auth.token.lookup_self()["data"], login, {})
        except StoreFailure as failure:
            return failure.code != "store_forbidden"
        return True

    def _ready(self, dead: Login | None = None) -> Login:
        """A login that holds. One thread renews it or logs in; the others wait, and find it done."""
        login = self._login
        if login is not None and login is not dead and self._monotonic() < login.due:
            return login
        with self._only_one():
            login = self._login
            now = self._monotonic()
            if login is None or login is dead or now >= login.until:
                self._login = self._logged_in(login)
            elif now >= login.due:
                self._login = self._renewed(login)
            assert self._login is not None
            return self._login

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        if not self._alone.acquire(timeout=self._section.timeout_seconds):
            raise StoreFailure("store_slow")
        try:
            yield
        finally:
            self._alone.release()

    def _renewed(self, login: Login) -> Login:
        """The login with more time, or another one; the old one where the server does not answer just now."""
        asked = self._monotonic()
        try:
            if login.renewable:
                auth = self._worked(lambda client: client.auth.token.renew_self()["auth"], login, {})
                seconds = stated_seconds(auth["lease_duration"])
                if seconds * _SHRUNK >= login.seconds:
                    due = asked + seconds * RENEWED_AT
                    return login._replace(due=due, until=asked + seconds, renewable=bool(auth["renewable"]))
        except StoreFailure as failure:
            if failure.is_outage:
                return login
        try:
            return self._logged_in(login)
        except StoreFailure:
            return login  # it still holds, and the next exchange tries again

    def _logged_in(self, before: Login | None) -> Login:
        shown = proof(self._section.login, self._directory)
        asked = self._monotonic()
        if self._refused is not None and self._refused[0] == shown and asked < self._refused[2]:
            raise StoreFailure("store_login_refused")
        try:
            with understood(InvalidRequest="store_login_refused", Forbidden="store_login_refused"):
                fresh = log_in(self._client(None), self._section.login, shown)
        except StoreFailure as failure:
            if not failure.is_outage:
                self._hold_off(shown, asked)
                raise StoreFailure("store_login_refused") from None
            raise
        self._refused = None
        return self._numbered(fresh, before, asked)

    def _numbered(self, fresh: Granted, before: Login | None, asked: float) -> Login:
        same = before is not None and before.token == fresh.token  # a token file that says the same
        if not same:
            self._logins += 1
        seconds = fresh.seconds or inf
        first = before.seconds if before is not None and same else seconds
        due = asked + seconds * RENEWED_AT
        return Login(self._logins, fresh.token, first, due, asked + seconds, fresh.renewable)

    def _hold_off(self, shown: Secret, asked: float) -> None:
        times = self._refused[1] if self._refused is not None and self._refused[0] == shown else 0
        pauses = _APPROLE_PAUSES if self._section.login.method == "approle" else _PAUSES
        self._refused = (shown, times + 1, asked + pauses[min(times, len(pauses) - 1)])


def _came(response: requests.Response, **_: Any) -> None:
    try:
        check_whole(response.status_code, response.headers)
    except StoreFailure:
        response.close()
        raise
