"""The web server: TLS, and clients that are slow, greedy or gone, of which none keeps it."""

import http.client
import logging
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from worker.api.front import connection, server
from worker.api.front.server import WebServer
from worker.errors import Invalid

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

MANY = 4
THREADS = 2


def echo(environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = b"" if environ["PATH_INFO"] == "/unread" else environ["wsgi.input"].read(length)
    said = [environ["wsgi.url_scheme"], environ.get("HTTP_X_AUTH_TOKEN", "-"), str(len(body))]
    status = "413 Too Large" if environ["PATH_INFO"] == "/large" else "200 OK"
    text = " ".join(said).encode()
    start(status, [("Content-Length", str(len(text)))])
    return [text]


@contextmanager
def serving(application: Application = echo, **given: Any) -> Iterator[int]:  # noqa: ANN401
    found = WebServer(application, ("127.0.0.1", 0), threads=THREADS, **given)
    port = found.start()
    try:
        yield port
    finally:
        found.stop()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the times be such as a test waits."""
    monkeypatch.setattr(connection, "ARRIVING", 1.5)
    monkeypatch.setattr(connection, "TAKING", 1.5)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20.0)


def taken(port: int) -> bool:
    """Tell whether a connection is taken."""
    try:
        connected(port).close()
    except OSError:
        return False
    return True


def raw(port: int, *said: bytes) -> bytes:
    """Return all that is answered until the end."""
    with closing(connected(port)) as client:
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in said:
                client.sendall(piece)
        answer = b""
        with suppress(ConnectionResetError):
            while piece := client.recv(65536):
                answer += piece
        return answer


def get(port: int, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    client: http.client.HTTPConnection
    if context is None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20.0)
    else:
        client = http.client.HTTPSConnection("127.0.0.1", port, timeout=20.0, context=context)
    with closing(client):
        client.request("GET", "/")
        answer = client.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of this machine's, and its key."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "api.pem", folder / "api.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate[0]))


def test_it_is_served_over_tls(certificate: tuple[Path, Path]) -> None:
    with serving(tls=certificate) as port:
        assert get(port, trusting(certificate)) == (200, "https - 0")
        context = trusting(certificate)
        with (
            closing(connected(port)) as client,
            context.wrap_socket(client, server_hostname="127.0.0.1") as secured,
        ):
            assert secured.version() in ("TLSv1.2", "TLSv1.3")


def test_old_tls_is_refused(certificate: tuple[Path, Path]) -> None:
    with serving(tls=certificate) as port:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with closing(connected(port)) as client, pytest.raises(OSError):  # noqa: PT011 - either kind
            context.wrap_socket(client)
        assert get(port, trusting(certificate))[0] == 200


def test_a_key_that_others_may_read_is_refused(certificate: tuple[Path, Path]) -> None:
    certificate[1].chmod(0o644)
    with pytest.raises(Invalid, match="mode 0644"):
        WebServer(echo, ("127.0.0.1", 0), threads=1, tls=certificate)
    certificate[1].chmod(0o600)


def test_a_key_of_another_certificate_is_refused(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.key"
    other.touch(mode=0o600)
    with pytest.raises(Invalid, match="tls_certificate"):
        WebServer(echo, ("127.0.0.1", 0), threads=1, tls=(certificate[0], other))


def test_clients_that_never_greet_keep_nobody_out(certificate: tuple[Path, Path]) -> None:
    with serving(tls=certificate) as port:
        silent = [connected(port) for _ in range(MANY)]
        assert get(port, trusting(certificate))[0] == 200
        for each in silent:
            each.close()


@pytest.mark.usefixtures("hurried")
def test_a_greeting_that_is_not_ended_is_cut_off(certificate: tuple[Path, Path]) -> None:
    with serving(tls=certificate) as port:
        silent = [connected(port) for _ in range(MANY)]
        for each in silent:
            each.sendall(b"\x16\x03\x01\x02")
        assert get(port, trusting(certificate))[0] == 200
        for each in silent:
            with suppress(ConnectionResetError):
                assert each.recv(100) == b""
            each.close()


def test_plain_http_where_tls_is_spoken_gets_nothing(certificate: tuple[Path, Path]) -> None:
    with serving(tls=certificate) as port:
        assert b"200" not in raw(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert get(port, trusting(certificate))[0] == 200


def test_clients_that_say_nothing_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ARRIVING", 1000.0)
    with serving() as port:
        silent = [connected(port) for _ in range(MANY)]
        assert get(port)[0] == 200
        for each in silent:
            each.close()


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "begun",
    [
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_a_request_that_comes_too_slowly_is_cut_off(begun: bytes) -> None:
    with serving() as port:
        ended = threading.Event()
        slow = [connected(port) for _ in range(MANY)]

        def trickle() -> None:
            """Send a byte before each single wait is over."""
            while not ended.wait(0.1):
                for each in slow:
                    with suppress(OSError):
                        each.sendall(b"x")

        for each in slow:
            each.sendall(begun)
        thread = threading.Thread(target=trickle)
        thread.start()
        assert get(port)[0] == 200
        ended.set()
        thread.join()
        for each in slow:
            each.close()


@pytest.mark.usefixtures("hurried")
def test_an_answer_that_nobody_takes_is_given_up() -> None:
    given_up = threading.Event()

    def much(environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
        if environ["PATH_INFO"] == "/":
            return echo(environ, start)
        start("200 OK", [])
        return endless()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            given_up.set()

    with serving(much) as port:
        deaf = [connected(port) for _ in range(THREADS)]
        for each in deaf:
            each.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        assert get(port)[0] == 200
        assert given_up.wait(20.0)
        for each in deaf:
            each.close()


def test_a_line_or_headers_without_end_are_refused() -> None:
    with serving() as port:
        line = raw(port, b"GET /" + b"x" * 2 * server.HEADERS)
        assert line.startswith(b"HTTP/1.1 414") or line == b""
        header = raw(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * 2 * server.HEADERS)
        assert header.startswith(b"HTTP/1.1 413") or header == b""
        assert get(port)[0] == 200


def test_a_body_whose_length_is_not_said_is_refused() -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving() as port:
        answer = raw(
            port,
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
            b"Content-Length: 3\r\n\r\n0\r\n\r\n" + smuggled,
        )
    assert answer.startswith(b"HTTP/1.1 411")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_body_that_nobody_wanted_is_not_taken_in() -> None:
    head = b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with serving() as port:
        answer = raw(port, head % (10**12), b"x" * 1000)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in answer
        small = raw(port, head % 1000 + b"x" * 1000, b"GET / HTTP/1.0\r\n\r\n")
        assert small.count(b"HTTP/1.1 200") == 2


def test_a_client_that_still_writes_sees_why_it_is_refused() -> None:
    body = b"x" * (connection.DRAINED - 1)
    with (
        serving() as port,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20.0)) as client,
    ):
        client.request("POST", "/large", body)
        assert client.getresponse().status == 413


def test_a_header_with_an_underscore_is_none() -> None:
    with serving() as port:
        asked = b"GET / HTTP/1.1\r\nHost: x\r\nX_Auth_Token: forged\r\nConnection: close\r\n\r\n"
        assert b"forged" not in raw(port, asked)
        said = asked.replace(b"_", b"-")
        assert b"forged" in raw(port, said)


def test_requests_that_run_end_at_a_stop() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
        begun.set()
        go.wait(20.0)
        return echo(environ, start)

    answers: list[tuple[int, str]] = []
    found = WebServer(slow, ("127.0.0.1", 0), threads=THREADS, patience=20.0)
    port = found.start()
    asking = threading.Thread(target=lambda: answers.append(get(port)))
    asking.start()
    assert begun.wait(20.0)
    stopping = threading.Thread(target=found.stop)
    stopping.start()
    while taken(port):
        time.sleep(0.01)
    go.set()
    asking.join()
    stopping.join()
    assert answers == [(200, "http - 0")]


def test_a_stop_does_not_wait_for_ever() -> None:
    go, begun = threading.Event(), threading.Event()

    def hangs(environ: dict[str, Any], start: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
        begun.set()
        go.wait()
        return echo(environ, start)

    found = WebServer(hangs, ("127.0.0.1", 0), threads=THREADS, patience=0.2)
    port = found.start()
    client = connected(port)
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert begun.wait(20.0)
    found.stop()
    go.set()
    client.close()


def test_an_address_that_is_taken_is_said() -> None:
    with serving() as port:
        other = WebServer(echo, ("127.0.0.1", port), threads=1)
        with pytest.raises(Invalid, match=rf"127.0.0.1:{port} .*change \[api\] listen"):
            other.start()


def test_what_the_server_says_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_environ: dict[str, Any], _start: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI
        message = "two\nlines"
        raise ValueError(message)

    with caplog.at_level(logging.INFO), serving(broken) as port:
        assert get(port)[0] == 500
    assert [each for each in caplog.messages if "api server: ValueError('two\\nlines')" in each]
