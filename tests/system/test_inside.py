"""What needs a kernel with USB, an IOMMU or modules, tried in a machine that has them."""

from pathlib import Path

import pytest

from tests.system.machine import CHECKOUT, run_inside
from worker.cmd.demo.guest_image import GuestImage

INSIDE = Path(__file__).parent / "inside"
LIMIT = 1500
FILES = sorted(path.relative_to(CHECKOUT) for path in INSIDE.glob("test_*.py"))


# An emulated machine, and in it an emulated guest.
@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_inside(file: Path, guest_image: GuestImage) -> None:
    """The guest's image is made before: the machine has no network."""
    assert guest_image.kernel.exists()
    flags = ["-p", "no:cacheprovider", "-p", "no:randomly", f"--timeout={LIMIT}"]
    told = run_inside(["-m", "pytest", "-v", *flags, str(file)], LIMIT)
    assert told.code == 0, told.text
