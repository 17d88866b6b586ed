"""Fixtures of the whole worker: on each in-process bus, with short waits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.rig import Rig, running
from worker.model.ids import new_uuid

MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(libvirtd: str, tmp_path: Path) -> Iterator[MakeRig]:
    """Makes workers that are stopped after the test."""
    with ExitStack() as stack:

        def make(bus: str = "kombu+memory://localhost/", **options: Any) -> Rig:  # noqa: ANN401
            host = f"host-{new_uuid()[:8]}"
            return stack.enter_context(
                running(tmp_path / host, libvirtd, bus=bus, host=host, **options)
            )

        yield make


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """One worker that loses patience with a guest after half a second."""
    return make_rig(hypervisor__detach_retry_interval=0.5, hypervisor__detach_attempts=1)
