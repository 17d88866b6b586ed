"""A stream ends when its caller is not known any more."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from falcon.testing import simulate_request

from worker.api.application import Application, Front
from worker.api.asked import Answer, Refused, Who
from worker.api.front.staying import EVERY, Staying
from worker.api.route import Route, Service
from worker.api.services import Services

SOMEBODY = Who(user_id="u", project_id="p", roles=frozenset({"reader"}))


class Pieces(Iterator[bytes]):
    """A stream without an end, a second between two pieces."""

    def __init__(self) -> None:
        self.now = 0.0
        self.closed = False

    def __next__(self) -> bytes:
        self.now += 1
        return b"."

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("taken_back", [1, EVERY + 1, 5 * EVERY - 1])
def test_it_ends_soon_after_the_token_was_taken_back(taken_back: float) -> None:
    pieces = Pieces()
    sent = list(Staying(pieces, lambda: pieces.now < taken_back, clock=lambda: pieces.now))
    assert taken_back - 1 <= len(sent) <= taken_back + EVERY


def test_nobody_is_asked_at_each_piece() -> None:
    pieces = Pieces()
    asked: list[float] = []

    def known() -> bool:
        asked.append(pieces.now)
        return True

    stream = Staying(pieces, known, clock=lambda: pieces.now)
    for _ in range(int(10 * EVERY)):
        next(stream)
    assert len(asked) == 10


def test_its_place_is_given_back() -> None:
    pieces = Pieces()
    Staying(pieces, lambda: True).close()
    assert pieces.closed
    Staying(iter([b""]), lambda: True).close()


class Door:
    """Lets somebody in a few times; what it does then is its ``end``."""

    def __init__(self, times: int, end: Who | Refused) -> None:
        self.times = times
        self._end = end

    def identify(self, _environ: object) -> Who:
        self.times -= 1
        if self.times >= 0:
            return SOMEBODY
        if isinstance(self._end, Refused):
            raise self._end
        return self._end


def pieces_heard(door: Door) -> int:
    """Return how many of fifty a client hears, who is asked for again before each."""
    route = Route(
        method="GET",
        path="/updates",
        act=lambda *_: Answer(stream=iter([b"."] * 50), content_type="text/plain"),
        does="Send pieces",
        rule="r",
        service=Service.OWN,
    )
    policy = SimpleNamespace(check=lambda *_: None, allows=lambda *_: True)
    services = cast("Services", SimpleNamespace(policy=policy))
    application = Application([route], services, Front(door=door, asked_again=0.0))
    return len(simulate_request(application, "GET", "/updates").content)


def test_whose_token_is_taken_back_hears_no_more() -> None:
    assert pieces_heard(Door(10, Refused(401, "who are you?"))) == 9


def test_who_became_another_hears_no_more() -> None:
    assert pieces_heard(Door(10, replace(SOMEBODY, project_id="other"))) == 9


def test_while_nobody_can_be_asked_it_goes_on() -> None:
    assert pieces_heard(Door(10, Refused(503, "Keystone is away"))) == 50
