"""libvirtd goes away in mid-operation, stopped or killed, and comes back."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests import guests
from tests.bus_worker import eventually
from tests.chaos import views
from tests.contract.daemons import Victim, victim
from tests.guests import Guest, GuestMaker, found_again, qemu_of
from tests.outages import Ground, Hold, Side, ground
from tests.rig import SOON, Json, Rig, running
from worker.cmd.demo.guest_image import GuestImage
from worker.model.operation import OperationState, StepOutcome
from worker.persistence.engine import make_engine

pytestmark = pytest.mark.timeout(240)

End = Callable[[Victim], None]

UNDER_WAY = 0.5
"""Seconds after which a call has reached QEMU, which is frozen."""

IN_VAIN = 300.0
"""Seconds for which a guest would be waited for, did no event end the wait."""

BACK, AWAY = "back", "away"
"""Where libvirtd is when the operation goes on."""

CALLS = [("attach_volume", "disks.attach"), ("detach_volume", "disks.unplug")]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Victim]:
    with victim() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outage")


@pytest.fixture(scope="module")
def make_guests(daemon: Victim, guest_image: GuestImage, folder: Path) -> Iterator[GuestMaker]:
    with guests.guest_maker(daemon.start(), guest_image, folder) as maker:
        yield maker


@contextmanager
def working(
    daemon: Victim,
    make_guests: GuestMaker,
    state: Path,
    **options: Any,  # noqa: ANN401
) -> Iterator[Ground]:
    """Run a worker with a guest of its own."""
    hold, uri = Hold(), daemon.start()
    with running(
        state,
        uri,
        bus="kombu+memory://localhost/",
        host=state.name,
        watches=(hold,),
        hypervisor__detach_retry_interval=IN_VAIN,
        hypervisor__detach_attempts=5,
        **options,
    ) as rig:
        engine = make_engine(f"sqlite:///{state / 'blockworker.sqlite'}")
        # The maker's own connection may be one to a libvirtd that is gone.
        maker = replace(make_guests, connection=libvirt.open(uri))
        yield ground(rig, hold, maker, engine, state)
        engine.dispose()


@pytest.fixture(scope="module")
def played(daemon: Victim, make_guests: GuestMaker, folder: Path) -> Iterator[Ground]:
    with working(daemon, make_guests, folder / "patient") as found:
        yield found


def noticed(rig: Rig, operation: str) -> bool:
    """Tell whether the operation has found libvirt away, or needs it no more."""
    found = rig.call("get_operation", operation_id=operation)
    failed = [step for step in found["steps"] if step["outcome"] == StepOutcome.FAILED]
    return bool(failed) or OperationState(found["state"]).ended


@pytest.mark.parametrize("step", CALLS, ids=" ".join)
@pytest.mark.parametrize(
    "ending",
    [
        (Side.BEFORE, Victim.stop, BACK),
        (Side.BEFORE, Victim.kill, AWAY),
        (Side.AFTER, Victim.kill, BACK),
        (Side.AFTER, Victim.stop, AWAY),
    ],
    ids=["stopped before", "killed before, away", "killed after", "stopped after, away"],
)
def test_an_operation_outlives_its_libvirtd(
    daemon: Victim, played: Ground, step: tuple[str, str], ending: tuple[Side, End, str]
) -> None:
    side, end, state = ending
    method, call = step
    case = played.prepared(method)
    with played.hold.at(call, side) as held:
        operation = played.begin(method, case)
        held.wait()
        end(daemon)
        if state == BACK:
            daemon.start()
    try:
        assert state == BACK or eventually(lambda: noticed(played.rig, operation), SOON)
    finally:
        daemon.start()
    ended = played.rig.end_of(operation)
    assert ended["state"] == "succeeded", ended
    played.check(case, ended, attached=method == "attach_volume")
    played.clear(case)


@pytest.mark.parametrize("step", CALLS, ids=" ".join)
@pytest.mark.parametrize("end", [Victim.stop, Victim.kill], ids=["stopped", "killed"])
def test_a_call_that_libvirtd_left_half_way_is_ended(
    daemon: Victim, played: Ground, step: tuple[str, str], end: End
) -> None:
    method, call = step
    case, qemu = played.prepared(method), qemu_of(played.guest)
    try:
        with played.hold.at(call, Side.BEFORE) as held:
            operation = played.begin(method, case)
            held.wait()
            os.kill(qemu, signal.SIGSTOP)
        time.sleep(UNDER_WAY)
        with ThreadPoolExecutor(1) as threads:
            ending = threads.submit(end, daemon)
            time.sleep(UNDER_WAY)
            # A libvirtd that stops waits for the answer, one that is killed is gone by now.
            os.kill(qemu, signal.SIGCONT)
            ending.result()
    finally:
        os.kill(qemu, signal.SIGCONT)
        daemon.start()
    ended = played.rig.end_of(operation)
    assert ended["state"] == "succeeded", ended
    played.check(case, ended, attached=method == "attach_volume")
    played.clear(case)


@pytest.mark.parametrize("end", [Victim.stop, Victim.kill], ids=["stopped", "killed"])
def test_events_are_heard_again(daemon: Victim, played: Ground, end: End) -> None:
    end(daemon)
    daemon.start()
    guest = found_again(played.guest)
    for act, state in ((guest.domain.suspend, "paused"), (guest.domain.resume, "active")):
        before = list(played.rig.updates)
        act()
        played.rig.wait_for(partial(powered, guest, state, before))
    played.clear(played.attached())


def powered(guest: Guest, state: str, before: list[Json], update: Json) -> bool:
    payload = update["payload"]
    told = (update["event_type"], payload["instance_uuid"], payload["vm_state"])
    return update not in before and told == ("instance.power", guest.uuid, state)


def test_a_guest_that_died_unseen_is_told_of(
    daemon: Victim, played: Ground, make_guests: GuestMaker
) -> None:
    guest = replace(make_guests, connection=libvirt.open(daemon.start()))()
    played.rig.call("adopt_instance", domain=guest.uuid)
    other = replace(played, guest=guest)
    case, qemu = other.attached(), qemu_of(guest)
    daemon.kill()
    os.kill(qemu, signal.SIGKILL)
    daemon.start()
    played.rig.wait_for(partial(powered, guest, "stopped", []))
    assert played.rig.call("get_instance", instance_uuid=guest.uuid)["vm_state"] == "stopped"
    stopped = replace(case, running=False)
    ended = played.rig.end_of(other.begin("detach_volume", stopped))
    assert ended["state"] == "succeeded", ended
    other.check(stopped, ended, attached=False)


def test_a_disk_that_went_unseen_is_gone(daemon: Victim, played: Ground) -> None:
    case = played.attached()
    found_again(played.guest).domain.suspend()
    with played.hold.at("disks.unplug", Side.BEFORE) as held:
        operation = played.begin("detach_volume", case)
        held.wait()
    time.sleep(UNDER_WAY)
    daemon.kill()
    try:
        tell_qemu(daemon.state, played.guest, "cont")
        played.guest.wait_for_no_disk(case.row["device_name"].removeprefix("/dev/"))
    finally:
        daemon.start()
    ended = played.rig.end_of(operation)
    assert ended["state"] == "succeeded", ended
    played.check(case, ended, attached=False)
    played.clear(case)


def tell_qemu(state: Path, guest: Guest, command: str) -> None:
    """Speak to QEMU over its monitor, which nobody else does while there is no libvirtd."""
    (path,) = (found for found in state.rglob("monitor.sock") if guest.name in str(found))
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(path))
        lines = monitor.makefile("rw")
        lines.readline()
        for each in ("qmp_capabilities", command):
            lines.write(json.dumps({"execute": each}))
            lines.flush()
            while "return" not in json.loads(lines.readline()):
                pass


@pytest.fixture(scope="module")
def impatient(daemon: Victim, make_guests: GuestMaker, folder: Path) -> Iterator[Ground]:
    with working(daemon, make_guests, folder / "impatient", outage_patience=1.0) as found:
        yield found


def test_an_outage_before_the_guest_is_touched_fails_and_leaves_nothing(
    daemon: Victim, impatient: Ground
) -> None:
    case = impatient.reserved()
    with impatient.hold.at("guests.describe", Side.BEFORE) as held:
        operation = impatient.begin("attach_volume", case)
        held.wait()
        daemon.stop()
    try:
        ended = impatient.rig.end_of(operation)
    finally:
        daemon.start()
    assert (ended["state"], ended["fault"]["code"]) == ("failed", "hypervisor.unavailable")
    impatient.check(case, ended, attached=False)
    impatient.clear(case)


@pytest.mark.parametrize("step", CALLS, ids=" ".join)
def test_an_outage_that_is_too_long_leaves_it_to_a_retry(
    daemon: Victim, impatient: Ground, step: tuple[str, str]
) -> None:
    method, call = step
    case = impatient.prepared(method)
    with impatient.hold.at(call, Side.BEFORE) as held:
        operation = impatient.begin(method, case)
        held.wait()
        daemon.kill()
    try:
        stuck = impatient.rig.end_of(operation)
    finally:
        daemon.start()
    assert (stuck["state"], stuck["attempts"]) == ("stuck", 0)
    assert "libvirt" in stuck["fault"]["message"]
    impatient.rig.call("retry_operation", operation_id=operation)
    ended = impatient.rig.end_of(operation)
    assert ended["state"] == "succeeded", ended
    aim = views.attached if method == "attach_volume" else views.gone
    again = replace(case, guest=found_again(case.guest))
    assert views.differences(impatient.stage, again, aim(again)) == []
    impatient.clear(case)
