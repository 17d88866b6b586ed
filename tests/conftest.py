"""What holds in every ring."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent

# How long an example takes is a matter of what else the machine does, and no promise of the code.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its ring, so that ``-m "not services"`` can leave one out.

    What may take longest begins first: no process is left alone with it at the end of a run.
    """
    for item in items:
        ring, *rest = item.path.relative_to(TESTS).parts
        if rest:
            item.add_marker(ring)
    items.sort(key=_limit, reverse=True)


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return 0.0 if marker is None else float(marker.args[0])
