"""Programs and daemons that os-brick runs or talks to, protocol by protocol."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from worker.model.finding import Finding, failed, ok, warning

SEARCHED = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
"""A user's PATH often lacks the folders of the system's own programs."""

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "iscsi": ("iscsiadm", "iscsid", "lsscsi", "sg_inq"),
    "iser": ("iscsiadm", "iscsid", "lsscsi", "sg_inq"),
    "fibre_channel": ("lsscsi", "sg_scan", "sg_inq"),
    "nvmeof": ("nvme",),
    "nfs": ("mount.nfs",),
    "smbfs": ("mount.cifs",),
    "glusterfs": ("mount.glusterfs",),
    "scaleio": ("drv_cfg",),
}
"""What os-brick runs for each protocol, and we to see what a device is."""

PACKAGES: Mapping[str, str] = {
    "iscsiadm": "open-iscsi",
    "iscsid": "open-iscsi",
    "lsscsi": "lsscsi",
    "sg_inq": "sg3-utils",
    "sg_scan": "sg3-utils",
    "nvme": "nvme-cli",
    "mount.nfs": "nfs-common",
    "mount.cifs": "cifs-utils",
    "mount.glusterfs": "glusterfs-client",
    "drv_cfg": "the storage's own",
    "multipath": "multipath-tools",
    "multipathd": "multipath-tools",
}
"""Where Debian has each."""

ISCSID = "@ISCSIADM_ABSTRACT_NAMESPACE"
MULTIPATHD = frozenset({"@/org/kernel/linux/storage/multipathd", "/run/multipathd.socket"})
"""The sockets at which the daemons listen, whoever started them; multipathd's has moved."""

INITIATOR = Path("/etc/iscsi/initiatorname.iscsi")
MAKE_A_NAME = "write InitiatorName=... into it (iscsi-iname makes one), and restart iscsid"


def tools(in_use: Collection[str]) -> Iterator[Finding]:
    """Look for the programs of every protocol; what volumes are attached over has to be there.

    Of the others it is said which could be used.
    """
    able, unable = [], []
    for protocol, programs in PROGRAMS.items():
        missing = [name for name in programs if not found(name)]
        if missing and protocol in in_use:
            yield failed(
                f"volumes are attached over {protocol}, and {', '.join(missing)} is not here",
                f"install {_packages(missing)}",
            )
        elif missing:
            unable.append(f"{protocol} ({', '.join(missing)})")
        else:
            able.append(protocol)
    yield ok(f"programs are here for {', '.join(able) or 'no protocol'}")
    if unable:
        yield ok(f"not here, and not in use: {'; '.join(unable)}")


def rights(in_use: Collection[str], *, root_helper: str, user: int) -> Iterator[Finding]:
    """Say whether os-brick's programs can do their work."""
    needed = sorted(set(in_use) & set(PROGRAMS))
    if user == 0 or root_helper:
        yield ok("os-brick's programs run as root" + (f", by {root_helper}" if user else ""))
    elif needed:
        yield failed(
            f"os-brick's programs run as an ordinary user, who cannot connect {', '.join(needed)}",
            "set [volume] root_helper, or run the worker as root",
        )
    else:
        yield ok("os-brick's programs run as an ordinary user; no volume here needs more")


def iscsi(listening: Collection[str], *, used: bool, name: Path = INITIATOR) -> Iterator[Finding]:
    """Look at the kernel's initiator: its daemon, its module and its name."""
    if not found("iscsiadm") and not used:
        yield warning("no open-iscsi is here: volumes over iSCSI fail", "install open-iscsi")
        return
    bad = failed if used else warning
    if ISCSID in listening:
        yield ok("iscsid listens")
    else:
        yield bad("iscsid does not listen", "systemctl enable --now iscsid.socket")
    yield _initiator(name, bad)


def multipath(listening: Collection[str], *, wanted: bool, enforced: bool) -> Iterator[Finding]:
    """Look at multipathd, if volumes are to be connected by all their paths."""
    if not wanted:
        yield ok("[volume] multipath is off")
        if enforced:
            yield warning(
                "[volume] enforce_multipath is on and multipath is off: nothing is enforced",
                "set multipath too, or neither",
            )
        return
    missing = [name for name in ("multipath", "multipathd") if not found(name)]
    bad = failed if enforced else warning
    if missing:
        yield bad(f"{' and '.join(missing)} is not here", "install multipath-tools")
    elif MULTIPATHD.isdisjoint(listening):
        lost = "volumes cannot be connected" if enforced else "volumes get one path"
        yield bad(f"multipathd does not listen: {lost}", "systemctl enable --now multipathd")
    else:
        yield ok("multipathd listens")


def found(program: str) -> bool:
    """Tell whether the program is on this host."""
    return shutil.which(program, path=SEARCHED) is not None


def sockets(path: Path = Path("/proc/net/unix")) -> frozenset[str]:
    """Return the local sockets that somebody has, by name."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    words = (line.split(maxsplit=7) for line in lines)
    return frozenset(each[7].rstrip("@") for each in words if len(each) > 7)  # noqa: PLR2004


def _initiator(path: Path, bad: Callable[[str, str], Finding]) -> Finding:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return bad(f"{path} is not there: this host has no name for targets", MAKE_A_NAME)
    except PermissionError:
        return ok(f"{path} is root's to read")
    names = [line.partition("=")[2].strip() for line in lines if line.startswith("InitiatorName=")]
    if not any(names):
        return bad(f"{path} names no initiator", MAKE_A_NAME)
    return ok(f"this host is {names[0]} to targets")


def _packages(missing: Collection[str]) -> str:
    return ", ".join(dict.fromkeys(PACKAGES[name] for name in missing))
