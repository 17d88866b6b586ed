from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api_rig import ApiRig, api_rig


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiRig]:
    """An API for all tests of a module; each makes servers and volumes of its own."""
    state: Path = tmp_path_factory.mktemp("api")
    with api_rig(state) as rig:
        yield rig
