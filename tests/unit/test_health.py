"""Probes, numbers, and the small server before them."""

import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from worker.errors import HypervisorUnavailable
from worker.health.metrics import Metrics, Reading
from worker.health.probe import BOUND, Probe
from worker.health.server import MOST, HealthServer, application
from worker.model.identity.lookup import DeviceKind
from worker.model.ids import OperationId
from worker.model.operation import Operation, OperationState
from worker.rpc.echo import MOST as MOST_ECHOES
from worker.rpc.echo import Pulse

SECRET = "sesame-7391"


def often() -> float:
    return 0.01


def eventually(probe: Probe, *, ok: bool) -> None:
    deadline = time.monotonic() + 10
    while probe.seen.ok is not ok:
        assert time.monotonic() < deadline, probe.seen
        time.sleep(0.01)


def test_a_probe_keeps_what_was_seen_last() -> None:
    wrong: list[Exception] = []

    def look() -> Mapping[str, Any]:
        if wrong:
            raise wrong[0]
        return {"version": 3}

    probe = Probe("x", look, every=often)
    assert (probe.seen.ok, probe.seen.why) == (False, "not looked at yet")
    probe.start()
    try:
        eventually(probe, ok=True)
        assert probe.seen.public()["version"] == 3
        assert probe.seen.public()["milliseconds"] >= 0
        wrong.append(HypervisorUnavailable("libvirt is away"))
        eventually(probe, ok=False)
        assert probe.seen.public() == {
            "ok": False,
            "why": "libvirt is away",
            "milliseconds": None,
            "version": 3,
        }
        wrong[0] = ValueError(SECRET)
        while probe.seen.why == "libvirt is away":
            time.sleep(0.01)
        assert SECRET not in str(probe.seen)
        wrong.clear()
        eventually(probe, ok=True)
    finally:
        probe.stop()


def test_a_probe_that_hangs_is_a_bad_sign_and_holds_up_nobody() -> None:
    hang = threading.Event()

    def look() -> Mapping[str, Any]:
        hang.wait(BOUND + 30)
        return {}

    probe = Probe("x", look, every=often)
    probe.start()
    try:
        while not (probe.seen.why or "").startswith("no answer"):
            time.sleep(0.05)
        assert not probe.seen.ok
    finally:
        hang.set()
        probe.stop()
    eventually(probe, ok=True)


def numbers(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def operation(state: OperationState) -> Operation:
    return Operation(
        id=OperationId("o"), method="attach_volume", arguments={}, lane="x", state=state
    )


def test_operations_are_counted_by_method_and_end() -> None:
    metrics = Metrics("1.2.3")
    for state in (OperationState.SUCCEEDED, OperationState.SUCCEEDED, OperationState.STUCK):
        metrics.ended(operation(state))
    found = numbers(metrics)
    name = "blockworker_operations_total"
    assert found[name, (("method", "attach_volume"), ("state", "succeeded"))] == 2
    assert found[name, (("method", "attach_volume"), ("state", "stuck"))] == 1
    assert found["blockworker_build_info", (("version", "1.2.3"),)] == 1


def test_steps_are_timed_by_name_and_outcome_and_errors_pass() -> None:
    metrics = Metrics("1")
    with metrics.step("disks.attach"):
        time.sleep(0.02)
    with pytest.raises(HypervisorUnavailable), metrics.step("disks.attach"):
        raise HypervisorUnavailable("away")
    found = numbers(metrics)
    done = (("outcome", "done"), ("step", "disks.attach"))
    failed = (("outcome", "failed"), ("step", "disks.attach"))
    assert found["blockworker_step_seconds_count", done] == 1
    assert found["blockworker_step_seconds_count", failed] == 1
    assert found["blockworker_step_seconds_sum", done] >= 0.02
    assert found["blockworker_step_seconds_sum", failed] < 0.02


def test_readings_are_taken_at_each_scrape_and_two_workers_do_not_mix() -> None:
    metrics, other = Metrics("1"), Metrics("1")
    values = {"busy": 1.0}
    reading = Reading(name="blockworker_lanes", help="x", values=values, label="state")
    metrics.read_from(lambda: [reading])
    assert numbers(metrics)["blockworker_lanes", (("state", "busy"),)] == 1
    values["busy"] = 2.0
    assert numbers(metrics)["blockworker_lanes", (("state", "busy"),)] == 2
    assert not any(name == "blockworker_lanes" for name, _ in numbers(other))


def test_drift_is_a_number_once_somebody_has_looked() -> None:
    metrics = Metrics("1")
    metrics.read_from(list)
    assert ("blockworker_drift_found", ()) not in numbers(metrics)
    metrics.drift(0)
    assert numbers(metrics)["blockworker_drift_found", ()] == 0
    metrics.drift(3)
    assert numbers(metrics)["blockworker_drift_found", ()] == 3


class Place:
    """A health server on one kind of socket; ``health`` is what it says."""

    def __init__(self, bound: socket.socket) -> None:
        self.health: dict[str, Any] = {"ok": True, "parts": {}}
        self.address = bound.getsockname()
        self._family = bound.family
        self.server = HealthServer(bound, application(lambda: self.health, lambda: b"x 1\n"))

    def connect(self) -> socket.socket:
        found = socket.socket(self._family)
        found.settimeout(10.0)
        try:
            found.connect(self.address)
        except OSError:
            found.close()
            raise
        return found

    def get(self, path: str, method: str = "GET") -> tuple[int, str, bytes]:
        asking = http.client.HTTPConnection("localhost")
        with closing(asking):
            asking.sock = self.connect()
            asking.request(method, path)
            answer = asking.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()


@pytest.fixture(params=[socket.AF_UNIX, socket.AF_INET])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with TemporaryDirectory() as folder:
        bound = socket.socket(request.param)
        bound.bind(str(Path(folder) / "h") if request.param == socket.AF_UNIX else ("127.0.0.1", 0))
        found = Place(bound)
        found.server.start()
        yield found
        found.server.stop()
        with pytest.raises(ConnectionRefusedError), found.connect():
            pass


def test_health_is_200_or_503(place: Place) -> None:
    status, kind, body = place.get("/healthz")
    assert (status, kind, json.loads(body)) == (200, "application/json", place.health)
    place.health = {"ok": False}
    assert place.get("/healthz?verbose=1")[0] == 503


def test_metrics_are_what_prometheus_reads(place: Place) -> None:
    status, kind, body = place.get("/metrics")
    assert (status, body) == (200, b"x 1\n")
    assert kind.startswith("text/plain; version=")
    assert place.get("/metrics", "HEAD")[2] == b""


def test_anything_else_is_refused(place: Place) -> None:
    assert place.get("/")[0] == 404
    assert place.get("/healthz", "POST")[0] == 405


def test_who_asks_nothing_holds_up_nobody_and_is_cut_off(place: Place) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(place.connect()) for _ in range(MOST - 1)]
        assert place.get("/healthz")[0] == 200
        assert [each.recv(1) for each in silent] == [b""] * len(silent)


def test_more_than_a_bound_are_turned_away(place: Place) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(place.connect()) for _ in range(MOST)]
        one_more = stack.enter_context(place.connect())
        closed, _, _ = select.select([*silent, one_more], [], [], 10.0)
        assert closed == [one_more]
    deadline = time.monotonic() + 10
    while True:
        with suppress(OSError, http.client.HTTPException):
            assert place.get("/healthz")[0] == 200
            break
        assert time.monotonic() < deadline


def test_a_pulse_knows_what_is_missing_and_for_how_long() -> None:
    pulse = Pulse()
    assert (pulse.unheard, pulse.trip) == (0.0, None)
    first, second = pulse.mark(), pulse.mark()
    assert first is not None
    assert second is not None
    time.sleep(0.02)
    assert pulse.unheard >= 0.02
    pulse.beat()
    assert pulse.unheard < 0.02
    pulse.back(second)
    assert pulse.unheard == 0.0
    assert pulse.trip is not None
    assert pulse.trip >= 0.02


def test_a_pulse_does_not_know_the_marks_of_an_earlier_life() -> None:
    pulse = Pulse()
    mark = pulse.mark()
    assert mark is not None
    pulse.back("another")
    time.sleep(0.01)
    assert pulse.unheard > 0
    pulse.lost(mark)
    assert pulse.unheard == 0.0


def test_what_does_not_come_back_is_not_sent_for_ever() -> None:
    pulse = Pulse()
    marks = [pulse.mark() for _ in range(MOST_ECHOES + 5)]
    assert [mark is None for mark in marks] == [False] * MOST_ECHOES + [True] * 5


def test_what_was_found_without_its_alias_is_counted_by_kind() -> None:
    metrics = Metrics("1")
    metrics.found_by_facts(DeviceKind.DISK)
    metrics.found_by_facts(DeviceKind.DISK)
    found = numbers(metrics)
    assert found["blockworker_fallback_lookups_total", (("kind", "disk"),)] == 2
