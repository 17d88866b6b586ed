"""What holds in every ring."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its ring, so that ``-m "not services"`` can leave one out."""
    for item in items:
        ring, *rest = item.path.relative_to(TESTS).parts
        if rest:
            item.add_marker(ring)
