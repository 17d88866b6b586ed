"""The short form of the soak (`tox -e soak`): the same, with few operations and one seed."""

import pytest

from tests.chaos.soak.plan import Victim
from tests.chaos.soak.run import Soak


@pytest.mark.timeout(400)
def test_kills_of_worker_and_libvirtd_lose_double_and_leak_nothing() -> None:
    said: list[str] = []
    soak = Soak(
        operations=40,
        guests=2,
        seed=3,
        victims=(Victim.WORKER, Victim.LIBVIRTD),
        say=said.append,
    )
    soak.run()
    assert soak.findings == [], said
    assert soak.summary["operations"] == 40
    assert soak.summary["worker kills"] >= 4
    assert soak.summary["libvirtd kills"] >= 2
    assert soak.summary["ghosts told"] >= 1
