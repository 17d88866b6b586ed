"""Where the configuration asks for exports of the pool that cannot be."""

from pathlib import Path
from typing import Any

import pytest

from worker import conf
from worker.errors import Invalid
from worker.wiring.volumes import check_volumes


def settings(folder: Path, **said: Any) -> Any:  # noqa: ANN401 - of the configuration
    return conf.load(state_path=str(folder), **said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"volume__pool_tgt_socket": "/run/tgtd/socket.0"}, "where that tgtd listens"),
        ({"volume__pool_portal": "0.0.0.0:3260"}, "an address of this host"),
        ({"volume__pool_portal": "[::]:3260"}, "an address of this host"),
    ],
)
def test_a_tgtd_that_nobody_could_reach_is_refused(
    tmp_path: Path, said: dict[str, str], why: str
) -> None:
    with pytest.raises(Invalid, match=why):
        check_volumes(settings(tmp_path, volume__pool_protocol="iscsi", **said))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"volume__pool_protocol": "iscsi"},
        {"volume__pool_portal": "192.0.2.1:3260"},
        {"volume__pool_portal": "[2001:db8::1]:3260"},
        {"volume__pool_tgt_socket": "/run/tgtd/socket.0", "volume__pool_portal": "192.0.2.1:3260"},
    ],
)
def test_one_that_can_be_is_not(tmp_path: Path, said: dict[str, str]) -> None:
    check_volumes(settings(tmp_path, **said))


@pytest.mark.parametrize("portal", ["192.0.2.1", "2001:db8::1", "a b:3260", "192.0.2.1:iscsi"])
def test_a_portal_is_an_address_and_a_port(tmp_path: Path, portal: str) -> None:
    with pytest.raises(ValueError, match="regex"):
        settings(tmp_path, volume__pool_portal=portal)
