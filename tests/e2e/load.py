"""Many clients that call until they are stopped, and keep what they were answered."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable
from typing import NamedTuple

from tests.e2e.house import AGENT, WAIT, Answer, House, ask


class Acknowledged(NamedTuple):
    """An answer that a client received whole: the call's own id, and what came back."""

    call: str
    answer: Answer


class Load:
    """``clients`` threads that call ``up/write`` over kept connections, each call with an id of its own.

    A client whose connection breaks ends, or dials anew where ``again``.
    """

    def __init__(self, house: House, name: str, clients: int = 16, *, again: bool = False) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.broken: list[str] = []  # ids whose answer never came
        self.refused_connections = 0
        self._house = house
        self._port = house.ports["access"]
        self._again = again
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(f"{name}-{number}",), daemon=True)
            for number in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every client finish its call."""
        self._stop.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(WAIT)
            assert not thread.is_alive()

    @property
    def ended(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def _client(self, name: str) -> None:
        headers = self._house.headers(AGENT)
        turn = 0
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WAIT)
            try:
                connection.connect()
            except OSError:
                self.refused_connections += 1
                return
            with contextlib.closing(connection):
                turn = self._calls(connection, headers, name, turn)
            if not self._again:
                return

    def _calls(self, connection: http.client.HTTPConnection, headers: dict[str, str], name: str, turn: int) -> int:
        while not self._stop.is_set():
            call = f"{name}-{turn}"
            turn += 1
            body = {"parameters": {"topic": "load"}, "idempotency_key": call}
            try:
                answer = ask(connection, "POST", "/v1/connectors/up/operations/write", body, headers)
            except (OSError, http.client.HTTPException):
                self.broken.append(call)
                return turn
            self.acknowledged.append(Acknowledged(call, answer))
            if answer.headers.get("Connection") == "close":
                return turn
        return turn


def paused(seconds: float, unless: Callable[[], object] = lambda: False) -> None:
    """Let ``seconds`` of load go by, or less where ``unless`` comes true."""
    pause = threading.Event()
    for _ in range(max(1, int(seconds * 200))):
        if unless() or pause.wait(0.005):
            return
