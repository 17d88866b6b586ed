"""One host on a storage network, with its targets, for all tests of the session."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.inside.storage.daemons import host_daemons, left, sweep
from tests.system.inside.storage.targets import Nvmet, Tgt, tgtd
from worker.volume.brick import BrickConnector
from worker.volume.brick_setup import BrickOptions

Make = Callable[..., BrickConnector]


@pytest.fixture(scope="session", autouse=True)
def network() -> Iterator[None]:
    with host_daemons():
        yield


@pytest.fixture(scope="session")
def tgt(network: None) -> Iterator[Tgt]:
    with tgtd() as found:
        yield found


@pytest.fixture(scope="session")
def nvmet(network: None) -> Nvmet:
    return Nvmet()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Whatever a test does, it ends with nothing of it on the host; the next finds none of it."""
    yield
    found = left()
    if found:
        sweep()
    assert found == {}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def connector(*, multipath: bool = False) -> BrickConnector:
        options = BrickOptions(
            lock_path=str(tmp_path / "locks"), multipath=multipath, enforce_multipath=multipath
        )
        return BrickConnector(host="host-1", my_ip="127.0.0.1", options=options)

    return connector


@pytest.fixture
def connector(make: Make) -> BrickConnector:
    return make()
