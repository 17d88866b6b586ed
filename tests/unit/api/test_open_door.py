"""Without a door a page in the machine's browser is let in by no name of its own."""

import pytest

from worker.api.asked import Refused
from worker.api.front.open_door import ANYBODY, OpenDoor


@pytest.mark.parametrize(
    "asked",
    ["localhost", "localhost:8774", "LocalHost", "127.0.0.1:8774", "127.8.0.1", "[::1]:8774", ""],
)
def test_by_the_names_of_this_machine_everybody_is_the_administrator(asked: str) -> None:
    assert OpenDoor().identify({"HTTP_HOST": asked}) == ANYBODY


def test_who_names_nobody_is_no_browser() -> None:
    assert OpenDoor().identify({}) == ANYBODY


@pytest.mark.parametrize(
    "asked",
    [
        "evil.example:8774",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "192.0.2.7",
        "[::1",
        "a[b]",
    ],
)
def test_by_a_foreign_name_nobody_is_let_in(asked: str) -> None:
    with pytest.raises(Refused, match="public_url") as refused:
        OpenDoor().identify({"HTTP_HOST": asked})
    assert refused.value.status == 403


def test_the_name_that_clients_are_told_is_ours() -> None:
    door = OpenDoor("https://Cloud.example/compute")
    assert door.identify({"HTTP_HOST": "cloud.example:443"}) == ANYBODY
    with pytest.raises(Refused):
        door.identify({"HTTP_HOST": "other.example"})
