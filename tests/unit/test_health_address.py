"""Where health is served, and that nobody serves it to the world by a slip."""

from pathlib import Path
from typing import Any

import pytest

from worker import conf as options
from worker.errors import Invalid
from worker.wiring.settings import health_address


def address(listen: str | None, *, remote: bool = False) -> Path | tuple[str, int] | None:
    given: dict[str, Any] = {} if listen is None else {"health__listen": listen}
    return health_address(options.load(state_path="/s", health__allow_remote=remote, **given))


def test_the_default_is_a_socket_of_the_workers_own() -> None:
    assert address(None) == Path("/s/health.sock")


@pytest.mark.parametrize(
    ("listen", "meant"),
    [
        ("", None),
        ("unix:/run/x.sock", Path("/run/x.sock")),
        ("127.0.0.1:9177", ("127.0.0.1", 9177)),
        ("[::1]:9177", ("::1", 9177)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_what_is_meant_is_understood(listen: str, meant: object) -> None:
    assert address(listen) == meant


@pytest.mark.parametrize("listen", ["9177", ":9177", "unix:relative", "127.0.0.1:x", "h:70000"])
def test_what_cannot_be_meant_is_refused(listen: str) -> None:
    with pytest.raises(Invalid, match="neither"):
        address(listen, remote=True)


@pytest.mark.parametrize("listen", ["0.0.0.0:9177", "[::]:9177", "10.0.0.1:1", "host:9177"])
def test_other_machines_are_let_in_only_when_that_is_said(listen: str) -> None:
    with pytest.raises(Invalid, match="allow_remote"):
        address(listen)
    assert address(listen, remote=True) is not None
