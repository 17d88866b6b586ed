"""The route's rule about a thing: asked again, unless the very same was asked before."""

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from worker.api.asked import Asked, Version, Who
from worker.api.ruling import check_rule
from worker.api.services import Services

WHO = Who(user_id="ann", project_id="one", roles=frozenset({"member"}))
ASKED = Asked(
    who=WHO,
    request_id="req-1",
    version=Version(2, 101),
    base="http://localhost",
    rule="servers:show",
    settled="servers:show",
)


class Noting:
    """A policy that lets everybody, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, str | None]]] = []

    def check(self, rule: str, _who: Who, target: Mapping[str, str | None]) -> None:
        self.asked.append((rule, target))


def asked_of(asked: Asked, owner: dict[str, str | None]) -> list[Any]:
    policy = Noting()
    check_rule(asked, cast("Services", SimpleNamespace(policy=policy)), owner)
    return policy.asked


def test_what_the_front_has_asked_is_not_asked_twice() -> None:
    assert asked_of(ASKED, WHO.owner) == []


@pytest.mark.parametrize(
    "owner",
    [
        {"project_id": "one", "user_id": "bob"},
        {"project_id": "two", "user_id": "ann"},
        {"project_id": None, "user_id": None},
    ],
)
def test_about_what_is_anothers_it_is(owner: dict[str, str | None]) -> None:
    assert asked_of(ASKED, owner) == [("servers:show", owner)]


def test_an_action_has_a_rule_of_its_own_which_is_asked() -> None:
    rescue = replace(ASKED, rule="os-rescue")
    assert asked_of(rescue, WHO.owner) == [("os-rescue", WHO.owner)]
