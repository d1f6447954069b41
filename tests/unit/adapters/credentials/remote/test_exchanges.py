from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
import urllib3

from sidecar.adapters.credentials.remote.connections import POOLS
from sidecar.adapters.credentials.remote.exchanges import Exchange, current
from sidecar.adapters.credentials.remote.store import StoreFailure
from tests.fakes.certificates import Authority

WAIT = 30
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request with the next of ``answers``, and then is silent and keeps the connection."""

    def __init__(self, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.answered = threading.Semaphore(0)
        self._answers = list(answers)
        self._tls = tls
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                with closing(connection), suppress(OSError):
                    while self._answers and connection.recv(65536):
                        connection.sendall(self._answers.pop(0))
                        self.answered.release()
                    while connection.recv(65536):
                        pass

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(WAIT)
        assert not self._thread.is_alive()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def manager(authority: Path | None = None) -> urllib3.PoolManager:
    made = urllib3.PoolManager(retries=False, timeout=WAIT, ca_certs=str(authority) if authority else None)
    made.pool_classes_by_scheme = POOLS
    return made


def asking(threads: ThreadPoolExecutor, exchange: Exchange, pools: urllib3.PoolManager, url: str) -> Future[bytes]:
    return threads.submit(exchange.run, lambda: pools.request("GET", url).data)


def check_cut(asked: Future[bytes]) -> None:
    with pytest.raises(StoreFailure) as failure:
        asked.result(WAIT)
    assert failure.value.code == "store_slow"
    assert failure.value.__cause__ is None


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nin the mid"[:-4]])
def test_an_answer_that_does_not_end_is_cut(threads: ThreadPoolExecutor, begun: bytes) -> None:
    server, exchange, pools = Server(begun), Exchange(), manager()
    asked = asking(threads, exchange, pools, f"http://127.0.0.1:{server.port}/")
    assert server.answered.acquire(timeout=WAIT)
    exchange.cut()
    check_cut(asked)
    pools.clear()
    server.end()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_connection_that_an_earlier_exchange_made_is_cut_for_the_one_that_uses_it(
    threads: ThreadPoolExecutor, tmp_path: Path, secure: bool
) -> None:
    authority = Authority(tmp_path)
    server = Server(WHOLE, b"HTTP", tls=authority.server("127.0.0.1") if secure else None)
    first, second, pools = Exchange(), Exchange(), manager(authority.file)
    url = f"http{'s' if secure else ''}://127.0.0.1:{server.port}/"
    assert asking(threads, first, pools, url).result(WAIT) == b"ok"
    assert server.answered.acquire(timeout=WAIT)
    first.cut()  # over already: the connection is not its own any more
    asked = asking(threads, second, pools, url)
    assert server.answered.acquire(timeout=WAIT)
    assert not asked.done()
    second.cut()
    check_cut(asked)
    pools.clear()
    server.end()


def test_a_handshake_that_does_not_end_is_cut(threads: ThreadPoolExecutor) -> None:
    server, exchange, pools = Server(b"\x16"), Exchange(), manager()  # the first byte of a record
    asked = asking(threads, exchange, pools, f"https://127.0.0.1:{server.port}/")
    assert server.answered.acquire(timeout=WAIT)
    exchange.cut()
    check_cut(asked)
    pools.clear()
    server.end()


def test_what_was_cut_before_it_began_does_not_begin() -> None:
    exchange, done = Exchange(), list[int]()
    exchange.cut()
    with pytest.raises(StoreFailure) as failure:
        exchange.run(lambda: done.append(1))
    assert failure.value.code == "store_slow"
    assert done == []


def test_after_a_cut_no_other_connection_is_made(threads: ThreadPoolExecutor) -> None:
    server, exchange, pools = Server(b"HTTP", WHOLE), Exchange(), manager()
    url = f"http://127.0.0.1:{server.port}/"

    def twice() -> bytes:
        with suppress(urllib3.exceptions.HTTPError):
            pools.request("GET", url)
        return pools.request("GET", url).data

    asked = threads.submit(exchange.run, twice)
    assert server.answered.acquire(timeout=WAIT)
    exchange.cut()
    check_cut(asked)
    pools.clear()
    server.end()


def test_what_ends_in_time_is_as_it_was_and_leaves_no_descriptor(threads: ThreadPoolExecutor) -> None:
    server, pools = Server(*[WHOLE] * 20), manager()
    url = f"http://127.0.0.1:{server.port}/"
    assert asking(threads, Exchange(), pools, url).result(WAIT) == b"ok"
    before = descriptors()
    for _ in range(19):
        assert asking(threads, Exchange(), pools, url).result(WAIT) == b"ok"
    assert descriptors() <= before
    pools.clear()
    server.end()


def test_a_failure_of_its_own_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        Exchange().run(lambda: 1 // 0)


def test_without_an_exchange_a_connection_is_a_connection() -> None:
    server, pools = Server(WHOLE), manager()
    assert pools.request("GET", f"http://127.0.0.1:{server.port}/").data == b"ok"
    pools.clear()
    server.end()


def test_a_thread_knows_the_exchange_that_it_is_in() -> None:
    exchange = Exchange()
    assert current() is None
    assert exchange.run(current) is exchange
    assert current() is None
