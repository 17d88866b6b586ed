"""What needs a kernel with USB, an IOMMU or modules, tried in a machine that has them."""

from pathlib import Path

import pytest

from tests.system.machine import CHECKOUT, run_inside
from worker.cmd.demo.guest_image import GuestImage

INSIDE = Path(__file__).parent / "inside"
LIMIT = 1500
RUNS = sorted(
    path.relative_to(CHECKOUT)
    for path in (*INSIDE.glob("test_*.py"), INSIDE / "storage", INSIDE / "nested")
)
"""Each has a machine of its own."""


# An emulated machine, and in it an emulated guest.
@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize("what", RUNS, ids=lambda path: path.stem)
def test_inside(what: Path, guest_image: GuestImage) -> None:
    """The guest's image is made before: the machine has no network."""
    assert guest_image.kernel.exists()
    flags = ["-p", "no:cacheprovider", "-p", "no:randomly", f"--timeout={LIMIT}"]
    told = run_inside(["-m", "pytest", "-v", *flags, str(what)], LIMIT)
    assert told.code == 0, told.text
