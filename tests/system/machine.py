"""A virtual machine with a kernel of its own, and the files of this one.

It boots Debian's full kernel under emulation and sees this machine's files, read through 9p and
written nowhere but in its own memory. So whatever is installed here is installed there, at the
same place, and beside it are what this kernel may lack: USB, an IOMMU and modules.
"""

import hashlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.rings import require
from worker.cmd.demo.guest import KERNEL_ARGUMENTS
from worker.cmd.demo.guest_image import GuestImageUnavailable, unpack_kernel
from worker.cmd.demo.initramfs import load_modules, make_initramfs

CHECKOUT = Path(__file__).parents[2]
INSIDE = "BLOCKWORKER_INSIDE"
"""In the environment of what runs in the machine."""

QEMU = "qemu-system-x86_64"
_MODULES = (
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "overlay",
    "xhci_pci",
    "usbhid",
    "hid_generic",
    "vfio",
    "vfio_iommu_type1",
    "vfio_pci",
    "tun",
    "loop",
    "dm_mod",
    "dm_multipath",
    "dm_round_robin",
    "dm_service_time",
    "sd_mod",
    "sg",
    "crc32c_generic",
    "iscsi_tcp",
    "nvme_tcp",
    "nvmet",
    "nvmet_tcp",
)
_APPLETS = ("chroot", "ifconfig", "mkdir")
_ENDED = "MACHINE-ENDED "
# vfio asks for the parameter where interrupts cannot be remapped, as under this IOMMU.
_INIT = rf"""#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do
    options=
    [ "$module" = vfio_iommu_type1.ko ] && options=allow_unsafe_interrupts=1
    insmod "/modules/$module" $options
done </modules/order
ifconfig lo 127.0.0.1 up
mkdir /theirs /ours /root
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /theirs
mount -t tmpfs tmpfs /ours
mkdir /ours/files /ours/work
mount -t overlay -o lowerdir=/theirs,upperdir=/ours/files,workdir=/ours/work overlay /root
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t devtmpfs devtmpfs /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs tmpfs /root/dev/shm
mount -t tmpfs tmpfs /root/run
mkdir /root/run/lock
# The kernel hands on what it does not know of its command line.
chroot /root /bin/sh "$asked"
echo "{_ENDED}$?"
poweroff -f
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the machine said until it was off, and how what it was asked to run ended."""

    text: str
    code: int | None


def run_inside(arguments: list[str], timeout: float) -> Told:
    """Run this Python with these arguments in the checkout, as root of a machine of its own.

    It has a USB keyboard, and at 00:10.0 a network card that nothing uses.
    """
    require(shutil.which(QEMU) is not None, f"{QEMU} (package qemu-system-x86)")
    kernel, initrd = _kernel(CHECKOUT / "build" / "system")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".sh") as script:
        script.write(_script(arguments))
        script.flush()
        done = subprocess.run(
            _command(kernel, initrd, script.name),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    text = done.stdout + done.stderr
    _before, found, after = text.rpartition(_ENDED)
    return Told(text=text, code=int(after.split()[0]) if found else None)


def _script(arguments: list[str]) -> str:
    python = shlex.join([sys.executable, *arguments])
    return f"""
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export {INSIDE}=1 PYTHONDONTWRITEBYTECODE=1
mkdir -p /run/libvirt
cd {shlex.quote(str(CHECKOUT))} && {python} 2>&1
"""


def _kernel(cache: Path) -> tuple[Path, Path]:
    """Return kernel and initramfs, made at the first call."""
    made_of = make_initramfs(b"", dict.fromkeys(_MODULES, b""), _INIT, _APPLETS)
    kept = cache / hashlib.sha256(made_of).hexdigest()[:12]
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as name:
            _build(Path(name)).rename(kept)
    return kept / "vmlinuz", kept / "initrd.img"


def _build(work: Path) -> Path:
    made = work / "image"
    made.mkdir()
    try:
        package = unpack_kernel(work, "amd64")
    except GuestImageUnavailable as error:
        require(False, str(error))  # noqa: FBT003 - does not return
        raise
    shutil.copy(package.kernel, made / "vmlinuz")
    modules = load_modules(package.modules, _MODULES)
    archive = make_initramfs(package.busybox.read_bytes(), modules, _INIT, _APPLETS)
    (made / "initrd.img").write_bytes(archive)
    return made


def _command(kernel: Path, initrd: Path, script: str) -> list[str]:
    return [
        QEMU,
        *("-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "3072"),
        *("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"),
        *("-kernel", str(kernel), "-initrd", str(initrd)),
        *("-append", f"{KERNEL_ARGUMENTS} intel_iommu=on asked={script}"),
        *("-device", "intel-iommu,caching-mode=on"),
        *("-device", "qemu-xhci,id=usb,addr=8", "-device", "usb-kbd,bus=usb.0"),
        *("-device", "e1000e,addr=10"),
        *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host,addr=9"),
    ]
