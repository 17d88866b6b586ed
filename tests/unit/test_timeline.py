"""The time line of an operation: each step where, and as long as, it ran."""

from typing import Any

from worker.cmd.operation import WIDTH, timeline


def step(number: int, second: float, seconds: float | None, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "number": number,
        "attempt": 0,
        "name": f"disks.step{number}",
        "started_at": f"2026-01-01T00:00:{second:09.6f}+00:00",
        "seconds": seconds,
        "outcome": "done",
        "fault": None,
    } | more


def bars(text: str) -> list[str]:
    begin = text.splitlines()[0].index("TIME")
    return [line[begin:].rstrip() for line in text.splitlines()[1:]]


def test_bars_stand_where_the_steps_ran() -> None:
    first, second = bars(timeline([step(1, 0, 1.0), step(2, 3, 1.0)]))
    assert first == "#" * (WIDTH // 4)
    assert second == " " * (WIDTH * 3 // 4) + "#" * (WIDTH // 4)


def test_the_shortest_and_the_unended_step_have_a_mark() -> None:
    found = timeline([step(1, 0, 10.0), step(2, 10, None, outcome="open")])
    assert bars(found)[1].strip() == "#"
    assert "open" in found


def test_a_failed_step_says_its_code() -> None:
    failed = step(1, 0, 0.0, outcome="failed", fault={"code": "hypervisor.unavailable"})
    assert "hypervisor.unavailable" in timeline([failed])


def test_a_time_without_a_guest_stands_below_the_steps() -> None:
    assert timeline([step(1, 0, 1.0)], 1.25).endswith("\n\nwithout a running guest: 1.250 s")
    assert "without" not in timeline([step(1, 0, 1.0)])
