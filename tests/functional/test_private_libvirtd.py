"""A libvirtd of our own: found again by anyone, ended by anyone, and nothing left of it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from tests.guests import guest_maker, require_hypervisor
from tests.rings import require
from worker.cmd.demo.guest_image import GuestImage
from worker.errors import HypervisorUnavailable
from worker.virt.libvirtd.private import PrivateLibvirtd

_NOBODY = 65534

_START = """
import sys
from pathlib import Path
from worker.virt.libvirtd.private import PrivateLibvirtd
print(PrivateLibvirtd(Path(sys.argv[1])).start(), flush=True)
"""
_START_AND_DIE = _START + "import os; os.kill(os.getpid(), 9)"
_START_AND_STOP = _START + "PrivateLibvirtd(Path(sys.argv[1])).stop()"


@pytest.fixture
def folder() -> Iterator[Path]:
    require_hypervisor()
    with tempfile.TemporaryDirectory(prefix="bw-test-") as name:
        yield Path(name)


@pytest.fixture
def state(folder: Path) -> Iterator[Path]:
    yield folder / "state"
    PrivateLibvirtd(folder / "state").stop()


def test_it_answers_and_is_not_started_twice(state: Path) -> None:
    libvirtd = PrivateLibvirtd(state)

    uri = libvirtd.start()
    pid = _pid(state)
    again = PrivateLibvirtd(state).start()

    assert uri == again
    assert _pid(state) == pid
    assert libvirtd.running()
    connection = libvirt.open(uri)
    assert connection.getType() == "QEMU"
    connection.close()


def test_it_outlives_a_killed_starter_and_another_process_stops_it(state: Path) -> None:
    started = _python(_START_AND_DIE, state)

    assert started.returncode == -signal.SIGKILL
    assert PrivateLibvirtd(state).running()
    PrivateLibvirtd(state).stop()
    assert not PrivateLibvirtd(state).running()
    assert _traces(state) == []


def test_nothing_is_left_after_stop(state: Path) -> None:
    libvirtd = PrivateLibvirtd(state)
    libvirtd.start()
    assert _traces(state) != []

    libvirtd.stop()

    assert _traces(state) == []
    libvirtd.stop()


def test_a_long_state_folder_is_reached_by_a_short_link_that_stop_removes(folder: Path) -> None:
    state = folder.joinpath(*["a-folder-with-a-long-name"] * 5)
    libvirtd = PrivateLibvirtd(state)

    uri = libvirtd.start()
    link = Path(uri.partition("socket=")[2]).parents[2]

    assert link.readlink() == state
    libvirtd.stop()
    assert not link.is_symlink()
    assert _traces(state) == []


def test_a_stale_pid_file_names_no_daemon(state: Path) -> None:
    state.mkdir()
    (state / "libvirtd.pid").write_text(str(os.getpid()), encoding="ascii")
    libvirtd = PrivateLibvirtd(state)

    assert not libvirtd.running()
    libvirtd.start()
    assert libvirtd.running()


def test_a_guest_is_found_again_after_libvirtd_was_killed(
    state: Path, guest_image: GuestImage
) -> None:
    libvirtd = PrivateLibvirtd(state)
    with guest_maker(libvirtd.start(), guest_image, state) as make_guest:
        guest = make_guest()
        number = guest.domain.ID()

        os.kill(_pid(state), signal.SIGKILL)
        connection = libvirt.open(libvirtd.start())

        assert connection.lookupByUUIDString(guest.uuid).ID() == number
        connection.close()
        assert guest.console.fresh(timeout=5) == {}


def test_an_ordinary_user_has_one_too(folder: Path) -> None:
    require(shutil.which("setpriv") is not None, "setpriv (util-linux)")
    state = folder / "state"
    state.mkdir()
    become: list[str] = []
    if os.geteuid() == 0:
        folder.chmod(0o755)
        os.chown(state, _NOBODY, _NOBODY)
        # The checkout may be closed to others: reading is all that the user keeps of root.
        kept = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        become = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *kept]

    ended = _python(_START_AND_STOP, state, become)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("qemu+unix:///session?socket=")
    assert _traces(state) == []


def test_a_state_folder_that_cannot_be_one_is_named(folder: Path) -> None:
    (folder / "state").write_text("a file", encoding="utf-8")

    with pytest.raises(HypervisorUnavailable, match=f"{folder}/state cannot be used"):
        PrivateLibvirtd(folder / "state").start()


def test_a_missing_libvirtd_is_named_with_its_package(folder: Path) -> None:
    (folder / "qemu-system-x86_64").symlink_to("/bin/true")
    libvirtd = PrivateLibvirtd(folder / "state", search_path=str(folder))

    with pytest.raises(HypervisorUnavailable, match=r"libvirtd is not installed.*libvirt-daemon"):
        libvirtd.start()


def test_a_missing_qemu_is_named_with_its_package(folder: Path) -> None:
    libvirtd = PrivateLibvirtd(folder / "state", search_path=str(folder))

    with pytest.raises(HypervisorUnavailable, match=r"qemu-system.* is not installed"):
        libvirtd.start()


def test_a_daemon_that_cannot_start_says_why(state: Path) -> None:
    (state / "libvirtd.pid").mkdir(parents=True)

    with pytest.raises(HypervisorUnavailable, match=r"did not start: .*pid"):
        PrivateLibvirtd(state).start()
    (state / "libvirtd.pid").rmdir()


def _pid(state: Path) -> int:
    return int((state / "libvirtd.pid").read_text(encoding="ascii"))


def _python(
    script: str, state: Path, become: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [*(become or []), sys.executable, "-B", "-c", script, str(state)]
    root = Path(__file__).parents[2]
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )


def _traces(state: Path) -> list[str]:
    """The processes that name the folder in their command line or their mounts."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "mountinfo"):
            try:
                text = (process / file).read_bytes()
            except OSError:
                continue
            if os.fsencode(state) in text and process.name != str(os.getpid()):
                found.append(f"{process.name}/{file}")
    return found
