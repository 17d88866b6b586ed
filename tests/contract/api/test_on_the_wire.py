"""What only a socket can send: bodies that are not as their headers say, and endless lines."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api_rig import ApiRig
from worker.api.front.server import WebServer

ATTACH = "/v2.1/servers/3f2504e0-4f89-41d3-9a0c-0305e82c3301/os-volume_attachments"


@pytest.fixture(scope="module")
def port(api: ApiRig) -> Iterator[int]:
    server = WebServer(api.application, ("127.0.0.1", 0), threads=4)
    yield server.start()
    server.stop()


def said(
    port: int, *lines: str, body: bytes = b"", method: str = "POST", path: str = ATTACH
) -> bytes:
    """Say it, and nothing more; return all that comes back."""
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall("\r\n".join(head).encode() + body)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def fault(answer: bytes) -> tuple[int, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


JSON = "Content-Type: application/json"


def test_a_body_shorter_than_its_length_is_refused(port: int) -> None:
    status, told = fault(said(port, JSON, "Content-Length: 100", body=b"{}"))
    assert status == 400
    assert told["badRequest"]["message"] == "the body has 2 bytes, and its Content-Length says 100"


def test_what_is_beyond_the_length_is_not_the_body(port: int) -> None:
    status, told = fault(said(port, JSON, "Content-Length: 2", body=b"{}, and more"))
    assert status == 400
    assert "'volumeAttachment' is a required property" in told["badRequest"]["message"]


@pytest.mark.parametrize("length", ["-5", "many", "1e3"])
def test_a_length_that_is_none_is_refused(port: int, length: str) -> None:
    assert said(port, JSON, f"Content-Length: {length}").startswith(b"HTTP/1.1 400 ")


def test_a_body_without_a_length_is_refused(port: int) -> None:
    answer = said(port, JSON, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_long_body_is_refused_before_it_is_read(port: int) -> None:
    status, told = fault(said(port, JSON, "Content-Length: 999999999"))
    assert status == 413
    assert told["overLimit"]["code"] == 413


@pytest.mark.parametrize(
    ("path", "headers"), [("/v2.1/" + "a" * 70000, []), (ATTACH, ["X-Long: " + "a" * 70000])]
)
def test_a_head_that_is_too_long_is_refused(port: int, path: str, headers: list[str]) -> None:
    answer = said(port, *headers, method="GET", path=path)
    assert answer.split(b" ")[1] in {b"413", b"414", b"431"}


@pytest.mark.parametrize("escape", ["%0d%0aSet-Cookie:%20a=b", "%00", "%7f"])
def test_no_escape_in_a_path_gets_into_a_header(port: int, escape: str) -> None:
    status, told = fault(said(port, method="GET", path=f"{ATTACH}/x{escape}"))
    assert status == 400
    assert "has a character that no volume_id has" in told["badRequest"]["message"]


def test_an_escaped_slash_is_no_slash(port: int) -> None:
    status, _ = fault(said(port, method="GET", path=f"{ATTACH}/a%2Fb"))
    assert status in {400, 404}


@pytest.mark.parametrize("method", ["FETCH", "TRACE", "CONNECT"])
def test_a_method_that_nobody_takes_is_refused(port: int, method: str) -> None:
    answer = said(port, method=method)
    assert answer.split(b" ")[1] in {b"400", b"405"}
    assert answer.lower().count(b"x-openstack-request-id") or method == "CONNECT"
