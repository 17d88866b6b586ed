"""What ``blockworker watch`` says where it cannot have heard all."""

from itertools import islice
from typing import Any

import pytest

from worker.cmd.watch import with_holes_said


class Broken:
    """A hearing that begins anew after its first update."""

    def __init__(self) -> None:
        self.bindings = 1
        self._rest: list[dict[str, Any] | None] = [{"number": 1}, None, {"number": 4}, None]

    def wait(self, _seconds: float) -> dict[str, Any] | None:
        update = self._rest.pop(0)
        self.bindings = 1 if update == {"number": 1} else 2
        return update


def test_a_hole_is_said_once_and_before_what_comes_after_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    updates = with_holes_said(Broken())
    assert next(updates) == {"number": 1}
    assert capsys.readouterr().err == ""
    assert list(islice(updates, 1)) == [{"number": 4}]
    assert capsys.readouterr().err.count("missing here") == 1
