"""The daemons of a host on a storage network, and what is left on it of what they connected."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rings import require

UDEVD = "/lib/systemd/systemd-udevd"
SOON = 60.0
"""A machine that is emulated takes its time."""

MULTIPATH_CONF = """defaults {
    find_multipaths yes
    path_grouping_policy multibus
    user_friendly_names no
    polling_interval 1
    max_polling_interval 1
    fast_io_fail_tmo 3
}
"""


def run(*words: object, check: bool = True) -> str:
    """Run a tool; its output, if it went well or need not."""
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON,
        env={**os.environ, "SYSTEMD_IGNORE_CHROOT": "1"},
    )
    assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def wait_for(what: Callable[[], object], why: str) -> None:
    end = time.monotonic() + SOON
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.1)


def require_tools() -> None:
    """What the machine has is what is installed outside of it."""
    for tool, package in (
        ("iscsid", "open-iscsi"),
        ("multipathd", "multipath-tools"),
        ("nvme", "nvme-cli"),
        ("lvcreate", "lvm2"),
        ("sg_vpd", "sg3-utils"),
        ("lsscsi", "lsscsi"),
        ("ip", "iproute2"),
        ("tgtd", "tgt"),
        (UDEVD, "udev"),
    ):
        require(shutil.which(tool) is not None, f"{tool} (package {package})")


@contextmanager
def daemon(*words: str) -> Iterator[None]:
    """Run one in the foreground; it ends with the block.

    In a session of its own: iscsid ends with a signal to whoever is in its own.
    """
    said = subprocess.DEVNULL
    with subprocess.Popen(words, stdout=said, stderr=said, start_new_session=True) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def host_daemons() -> Iterator[None]:
    """udev, iscsid and multipathd, as on a host that was booted with them."""
    require_tools()
    Path("/etc/multipath.conf").write_text(MULTIPATH_CONF, encoding="utf-8")
    run("mount", "-t", "configfs", "configfs", "/sys/kernel/config", check=False)
    with daemon(UDEVD), daemon("iscsid", "-f"), daemon("multipathd", "-d", "-s"):
        wait_for(Path("/run/udev/control").exists, "udev does not answer")
        run("udevadm", "trigger", "--action=add", "--subsystem-match=block")
        run("udevadm", "settle", f"--timeout={SOON:g}")
        wait_for(lambda: run("multipathd", "show", "status", check=False), "no multipathd")
        yield


def left() -> dict[str, list[str]]:
    """What there is on this host of sessions, devices, maps and records of targets."""
    found = {
        "sessions": names("/sys/class/iscsi_session", "session*"),
        "disks": names("/sys/class/block", "sd*"),
        "maps": [name for name in names("/sys/class/block", "dm-*") if is_map(name)],
        "controllers": names("/sys/class/nvme", "nvme*"),
        "namespaces": names("/sys/class/block", "nvme*"),
        "targets": names("/etc/iscsi/nodes", "*"),
    }
    return {what: there for what, there in found.items() if there}


def sweep() -> None:
    """Take from the host what a test that failed has left."""
    run("multipath", "-F", check=False)
    run("iscsiadm", "-m", "node", "-u", check=False)
    run("iscsiadm", "-m", "node", "-o", "delete", check=False)
    run("nvme", "disconnect-all", check=False)


def names(folder: str, pattern: str) -> list[str]:
    return sorted(path.name for path in Path(folder).glob(pattern))


def paths(name: str) -> list[str]:
    """The devices below a map."""
    return names(f"/sys/class/block/{name}/slaves", "*")


def is_map(name: str) -> bool:
    uuid = Path("/sys/class/block", name, "dm/uuid")
    return uuid.exists() and uuid.read_text(encoding="utf-8").startswith("mpath-")
