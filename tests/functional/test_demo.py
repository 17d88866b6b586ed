"""``blockworker demo``, as a newcomer runs it, stops it, and goes on with it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.guests import IMAGE_CACHE, cached_guest_image, require_hypervisor
from tests.processes import Served, blockworker, running_under


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with the guest's image in it already."""
    require_hypervisor()
    cached_guest_image()
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "image").symlink_to(IMAGE_CACHE)
    return folder


def test_it_tells_programs_what_it_shows_people(state: Path) -> None:
    done = blockworker("demo", "--json", "--state-path", state)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True
    virtio, scsi = told["devices"]
    assert virtio["guest"]["serial"] == virtio["serial"][:20]
    assert scsi["guest"]["serial"] == scsi["serial"]
    assert set(virtio["views"].values()) == {None}
    assert scsi["views"]["live"] == scsi["views"]["persistent"] == "sda"
    assert scsi["views"]["http"] == "/dev/sda"
    assert told["updates"][-1] == "instance.volume_detach.end"
    assert running_under(state) == []


def test_a_file_of_the_users_is_what_the_guest_sees(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.raw"
    file.write_bytes(b"mine" * (1 << 18))
    done = blockworker("demo", "--json", "--volume", file, "--state-path", state)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["devices"][0]["guest"]["size"] == 1 << 20
    assert file.read_bytes() == b"mine" * (1 << 18)


def test_a_missing_file_is_said_and_leaves_nothing(state: Path) -> None:
    done = blockworker("demo", "--volume", state / "missing", "--state-path", state)
    assert done.returncode == 1
    assert "volume.file_unusable" in done.stderr
    assert running_under(state) == []


def test_what_is_kept_can_be_gone_on_with_and_ended(state: Path) -> None:
    done = blockworker("demo", "--keep", "--state-path", state)
    assert done.returncode == 0, done.stderr
    assert "blockworker serve --config-file" in done.stdout
    assert "blockworker all-in-one --config-file" in done.stdout
    served = Served(state=state, config=state / "blockworker.conf")
    served.start()
    (instance,) = served.told("instance", "list")
    (device,) = served.told("device", "list", instance["uuid"])
    assert device["status"] == "attached"
    assert served.stop() == 0
    assert blockworker("demo", "--clean", "--state-path", state).returncode == 0
    assert running_under(state) == []


@pytest.mark.parametrize("after", [0.7, 1.5, 4.0])
def test_ctrl_c_leaves_nothing_behind(state: Path, after: float) -> None:
    # Whoever starts the tests in the background may have them, and so the demo, ignore SIGINT.
    hears = ["env", "--default-signal=INT"]
    command = [*hears, sys.executable, "-m", "worker", "demo", "--state-path", str(state)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130, -signal.SIGINT), said.decode()
    deadline = time.monotonic() + 10
    while running_under(state) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running_under(state) == []
