"""The small guest's kernel and initramfs: built here, without root, and kept."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.cmd.demo.initramfs import ModuleMissing, load_modules, make_initramfs
from worker.errors import Unavailable

_BUSYBOX = "busybox-static"
_CLOUD_MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "virtio_net",
    "sd_mod",
    "sr_mod",
    "ata_piix",
    "evdev",
    "button",
)
# Debian's cloud kernel leaves out what no cloud has; the full one has these buses too.
_MODULES = {
    "cloud-amd64": _CLOUD_MODULES,
    "amd64": (*_CLOUD_MODULES, "ahci", "xhci_pci", "usb_storage"),
}
_TIMEOUT = 300.0
_LAST_LINES = 3


class GuestImageUnavailable(Unavailable):
    """The guest's kernel or initramfs could not be made; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestImage:
    """A kernel and an initramfs for a direct boot."""

    kernel: Path
    initrd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPackage:
    """A kernel as Debian packs it, and a busybox beside it."""

    kernel: Path
    modules: Path
    busybox: Path


def build_guest_image(cache: Path, flavour: str = "cloud-amd64") -> GuestImage:
    """Return the guest's image from ``cache``, built there first if it is missing.

    The flavour is Debian's: ``cloud-amd64`` (small; virtio, scsi, IDE) or ``amd64`` (with SATA
    and USB). Packages are downloaded with apt, not installed. What is in the cache is used as it
    is, without a look at apt, until the guest's own files change; delete it for a newer kernel.
    Builders may run side by side. Raises ``GuestImageUnavailable``.
    """
    kept = cache / flavour
    key = _key(flavour)
    found = _find(kept, key)
    if found is not None:
        return found
    with _lock(kept):
        return _find(kept, key) or _build(kept, key, flavour)


def _key(flavour: str) -> str:
    if flavour not in _MODULES:
        message = f"no guest kernel of flavour {flavour}; there are {', '.join(_MODULES)}"
        raise GuestImageUnavailable(message)
    # All of ours that goes in; the kernel's release is the other half of the folder's name.
    made_of = make_initramfs(b"", dict.fromkeys(_MODULES[flavour], b""))
    return hashlib.sha256(made_of).hexdigest()[:12]


def _find(kept: Path, key: str) -> GuestImage | None:
    folders = sorted(kept.glob(f"*_{key}"), key=lambda folder: folder.stat().st_mtime)
    return _image(folders[-1]) if folders else None


def _image(folder: Path) -> GuestImage:
    return GuestImage(kernel=folder / "vmlinuz", initrd=folder / "initrd.img")


@contextmanager
def _lock(kept: Path) -> Iterator[None]:
    try:
        kept.mkdir(parents=True, exist_ok=True)
        file = (kept / ".lock").open("w", encoding="utf-8")
    except OSError as error:
        message = f"the guest's image cannot be kept in {kept}: {error}"
        raise GuestImageUnavailable(message) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(kept: Path, key: str, flavour: str) -> GuestImage:
    # Under the lock any such folder is what a builder that was killed left behind.
    for stale in kept.glob(".building-*"):
        shutil.rmtree(stale)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=kept) as name:
        work = Path(name)
        package = unpack_kernel(work, flavour)
        made = work / "image"
        made.mkdir()
        shutil.copy(package.kernel, made / "vmlinuz")
        (made / "initrd.img").write_bytes(_initramfs(package, flavour))
        return _image(made.rename(kept / f"{package.modules.name}_{key}"))


def unpack_kernel(work: Path, flavour: str) -> KernelPackage:
    """Download Debian's kernel of this flavour and unpack it into the empty folder ``work``.

    Raises ``GuestImageUnavailable``.
    """
    root = _unpacked(work, [_kernel_package(flavour), _BUSYBOX])
    kernel = next(root.glob("boot/vmlinuz-*"))
    # /bin and /lib moved below /usr from one Debian to the next.
    bases = (root, root / "usr")
    folder = next(base / "lib/modules" for base in bases if (base / "lib/modules").is_dir())
    busybox = next(base / "bin/busybox" for base in bases if (base / "bin/busybox").is_file())
    release = kernel.name.removeprefix("vmlinuz-")
    return KernelPackage(kernel=kernel, modules=folder / release, busybox=busybox)


def _initramfs(package: KernelPackage, flavour: str) -> bytes:
    try:
        modules = load_modules(package.modules, _MODULES[flavour])
    except ModuleMissing as error:
        message = f"the kernel {package.modules.name} does not fit: {error}"
        raise GuestImageUnavailable(message) from error
    return make_initramfs(package.busybox.read_bytes(), modules)


def _kernel_package(flavour: str) -> str:
    """The package of the kernel that Debian's package of this flavour now stands for."""
    name = f"linux-image-{flavour}"
    advice = "run `apt-get update` as root; it is a package of Debian"
    answer = _run(["apt-cache", "depends", "--important", name], advice=advice)
    for line in answer.splitlines():
        word, _, package = line.strip().partition(": ")
        if word == "Depends" and package.startswith("linux-image-"):
            return package
    raise GuestImageUnavailable(f"apt does not know the package {name}: {advice}")


def _unpacked(work: Path, packages: list[str]) -> Path:
    # apt drops root for a user of its own who may not write here.
    sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    advice = "needs the network; run `apt-get update` as root if the package is not found"
    _run(["apt-get", "download", *sandbox, *packages], advice=advice, folder=work)
    root = work / "root"
    for package in sorted(work.glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(root)], advice="is the disk full?", folder=work)
    return root


def _run(command: list[str], *, advice: str, folder: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=True,
        )
    except FileNotFoundError as error:
        message = f"{command[0]} is missing; the guest is made of Debian's packages: apt and dpkg"
        raise GuestImageUnavailable(message) from error
    except subprocess.CalledProcessError as error:
        said = "; ".join(error.stderr.strip().splitlines()[-_LAST_LINES:])
        message = f"`{' '.join(command)}` failed ({advice}): {said}"
        raise GuestImageUnavailable(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"`{' '.join(command)}` took over {_TIMEOUT:.0f} s: {advice}"
        raise GuestImageUnavailable(message) from error
    return done.stdout
