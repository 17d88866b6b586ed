"""What is imported first, by us or by others, must not matter."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "first",
    ["oslo_messaging", "oslo_service.loopingcall", "worker.volume.brick", "worker.cmd.main"],
)
@pytest.mark.parametrize("then", ["worker.rpc.client", "worker.cmd.main", "worker.volume.brick"])
def test_the_order_of_imports_is_free(first: str, then: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import {first}, {then}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
