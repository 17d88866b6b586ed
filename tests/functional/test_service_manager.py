"""``blockworker serve`` under a service manager: readiness, reload, stop, watchdog, health."""

import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guests import GuestMaker
from tests.health_client import health, health_when, metrics
from tests.notified import Manager, manager
from tests.processes import Served, configure
from tests.rings import require
from worker.model.ids import new_uuid

WATCHDOG = 1.0
UNIT = Path(__file__).parents[2] / "etc" / "blockworker.service"


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Manager]:
    with manager(tmp_path) as found:
        yield found


@pytest.fixture
def served(libvirtd: str, listening: Manager, tmp_path: Path) -> Iterator[Served]:
    """A worker with a watchdog, not yet started; killed at the end if it still runs."""
    found = configure(
        tmp_path / "state", libvirtd, threads="1", operation_timeout="1", graceful_timeout="5"
    )
    append(found, "[health]", "interval = 0.2")
    found.environment = listening.environment(WATCHDOG)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


def append(served: Served, *lines: str) -> None:
    with served.config.open("a") as config:
        config.write("\n" + "\n".join(lines) + "\n")


def held_detach(served: Served, make_guest: GuestMaker) -> tuple[Any, str]:
    """Begin a detach that a paused guest holds up; return the guest and the operation."""
    guest = make_guest()
    served.client.call("adopt_instance", domain=guest.uuid)
    volume = new_uuid()
    assert served.run("create_volume", volume_id=volume, size=1 << 20)["fault"] is None
    row = served.client.call(
        "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=volume
    )
    ended = served.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    assert ended["fault"] is None
    guest.wait_for_disk("vda")
    guest.domain.suspend()
    operation = served.begin("detach_volume", instance_uuid=guest.uuid, volume_id=volume)
    while "disks.unplug" not in open_steps(served, operation):
        time.sleep(0.05)
    return guest, operation


def open_steps(served: Served, operation: str) -> list[str]:
    found = served.client.call("get_operation", operation_id=operation)
    return [step["name"] for step in found["steps"] if step["outcome"] == "open"]


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    require(shutil.which("systemd-analyze") is not None, "systemd-analyze (package systemd)")
    copy = tmp_path / "blockworker.service"
    copy.write_text(UNIT.read_text().replace("/usr/bin/blockworker", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_says_when_it_serves_reloads_and_stops(served: Served, listening: Manager) -> None:
    served.start()
    assert "serving" in listening.wait_for("READY")["STATUS"]
    listening.wait_for("WATCHDOG")
    text = served.config.read_text()
    served.config.write_text(
        text.replace("graceful_timeout = 5", "graceful_timeout = 7\nthreds = 1")
    )
    reload(served, listening)
    assert "ERROR" in served.log()
    assert "option changed" not in served.log()
    served.config.write_text(
        text.replace("graceful_timeout = 5", "graceful_timeout = 7").replace("threads = 1", "")
    )
    reload(served, listening)
    assert "option changed: [DEFAULT] graceful_timeout old=5.0 new=7.0" in served.log()
    assert "takes effect at the next start: [DEFAULT] threads" in served.log()
    assert served.stop() == 0
    listening.wait_for("STOPPING")
    assert "graceful_timeout=7.0" in served.log()


def reload(served: Served, listening: Manager) -> None:
    assert served.process is not None
    served.process.send_signal(signal.SIGHUP)
    assert int(listening.wait_for("RELOADING")["MONOTONIC_USEC"]) > 0
    listening.wait_for("READY")


def test_what_is_for_the_worker_is_not_handed_on(served: Served, listening: Manager) -> None:
    """A child that had the address could say that it is ready, or alive, in the worker's name."""
    served.start()
    assert served.process is not None
    listening.wait_for("READY")
    for task in Path("/proc").glob("[0-9]*/status"):
        try:
            is_child = f"\nPPid:\t{served.process.pid}\n" in task.read_text()
            environment = (task.parent / "environ").read_bytes() if is_child else b""
        except OSError:
            continue
        assert b"NOTIFY_SOCKET" not in environment


def test_health_and_metrics_tell_what_the_worker_does(
    served: Served, listening: Manager, make_guest: GuestMaker
) -> None:
    served.start()
    well = health_when(served.state, lambda found: found["ok"])
    assert stat.S_IMODE((served.state / "health.sock").stat().st_mode) == 0o600
    assert set(well["parts"]) == {
        "broker",
        "database",
        "libvirt",
        "pool",
        "operations",
        "outbox",
    }
    assert all(part["why"] is None for part in well["parts"].values())
    assert all(well["parts"][name]["milliseconds"] > 0 for name in ("broker", "database"))
    guest, operation = held_detach(served, make_guest)
    late = health_when(served.state, lambda found: found["parts"]["pool"]["late"] == 1)
    assert (late["ok"], late["parts"]["pool"]["ok"]) == (False, False)
    assert late["parts"]["operations"]["unfinished"] >= 1
    assert health(served.state)[0] == 503
    found = metrics(served.state)
    assert found['blockworker_lanes{state="busy"}'] == 1
    assert found["blockworker_steps_late{}"] == 1
    assert found['blockworker_operations_unfinished{state="running"}'] == 1
    assert found["blockworker_operations_oldest_seconds{}"] > 0
    assert found['blockworker_step_seconds_count{outcome="done",step="disks.attach"}'] == 1
    assert found['blockworker_up{part="broker"}'] == 1
    # libvirt 9.0 is seen to crash where a guest lets go just while it is asked again.
    guest.domain.destroy()
    assert served.end_of(operation)["state"] == "succeeded"
    health_when(served.state, lambda found: found["ok"])
    name = 'blockworker_operations_total{method="detach_volume",state="succeeded"}'
    found = metrics(served.state)
    assert found[name] == 1
    assert "blockworker_drift_found{}" not in found
    served.client.call("find_drift", instance_uuid=guest.uuid)
    assert "blockworker_drift_found{}" not in metrics(served.state)
    differences = served.client.call("find_drift")["differences"]
    assert metrics(served.state)["blockworker_drift_found{}"] == len(differences)
    assert served.stop() == 0
    assert not (served.state / "health.sock").exists()


def test_the_watchdog_is_not_fed_while_every_thread_is_late(
    served: Served, listening: Manager, make_guest: GuestMaker
) -> None:
    served.start()
    guest, operation = held_detach(served, make_guest)
    listening.wait_for("STATUS")
    while "not fed" not in listening.wait_for("STATUS")["STATUS"]:
        pass
    assert listening.silent_for("WATCHDOG", 3 * WATCHDOG)
    # libvirt 9.0 is seen to crash where a guest lets go just while it is asked again.
    guest.domain.destroy()
    assert served.end_of(operation)["state"] == "succeeded"
    listening.wait_for("WATCHDOG")


def test_a_libvirt_that_is_away_is_told_and_no_reason_for_the_watchdog(
    listening: Manager, tmp_path: Path
) -> None:
    served = configure(tmp_path / "state", f"qemu+unix:///system?socket={tmp_path}/nobody")
    append(served, "[health]", "interval = 0.2")
    served.environment = listening.environment(WATCHDOG)
    served.start()
    try:
        found = health_when(
            served.state, lambda found: "nobody" in str(found["parts"]["libvirt"]["why"])
        )
        assert not found["ok"]
        assert metrics(served.state)['blockworker_up{part="libvirt"}'] == 0
        listening.heard.clear()
        for _ in range(6):
            listening.wait_for("WATCHDOG", 5 * WATCHDOG)
        assert not [told for told in listening.heard if "not fed" in told.get("STATUS", "")]
    finally:
        served.kill()


def test_a_health_port_that_is_taken_is_named_and_it_serves(
    served: Served, listening: Manager
) -> None:
    append(served, "listen = unix:/nowhere/at/all.sock")
    served.start()
    assert served.client.call("ping")["host"]
    listening.wait_for("READY")
    assert "health not served" in served.log()
    assert served.stop() == 0
