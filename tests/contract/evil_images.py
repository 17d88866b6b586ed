"""Images as an attacker would make them: with qemu-img where it can, by hand where it refuses."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.rings import require

MIB = 1 << 20
SECRET = "/etc/passwd"

_QCOW2_VERSION = 4
_QCOW2_CRYPT = 32
_QCOW2_FEATURES = 72


def qemu_img(*arguments: object) -> None:
    require(shutil.which("qemu-img") is not None, "qemu-img (package qemu-utils)")
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def qcow2(path: Path, *options: str) -> None:
    qemu_img("create", "-f", "qcow2", *options, path, MIB)


def with_backing_file(path: Path) -> None:
    qcow2(path, "-b", SECRET, "-F", "raw")


def with_backing_protocol(path: Path) -> None:
    """A name that QEMU reads as settings, of any driver it has."""
    name = f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{SECRET}"}}}}'
    qcow2(path, "-u", "-b", name, "-F", "raw")


def with_backing_block_device(path: Path) -> None:
    qcow2(path, "-u", "-b", "/dev/vda", "-F", "raw")


def with_data_file(path: Path) -> None:
    qcow2(path, "-o", f"data_file={path.with_suffix('.data')},data_file_raw=on")


def with_unknown_feature(path: Path) -> None:
    qcow2(path)
    _patch(path, _QCOW2_FEATURES, struct.pack(">Q", 1 << 20))


def of_unknown_version(path: Path) -> None:
    qcow2(path)
    _patch(path, _QCOW2_VERSION, struct.pack(">I", 7))


def encrypted(path: Path) -> None:
    qcow2(path)
    _patch(path, _QCOW2_CRYPT, struct.pack(">I", 2))


def boundless(path: Path) -> None:
    qcow2(path)
    _patch(path, 24, struct.pack(">Q", (1 << 64) - 512))


def cut_in_the_header(path: Path) -> None:
    qcow2(path)
    path.write_bytes(path.read_bytes()[:100])


def cut_in_the_data(path: Path) -> None:
    raw = path.with_suffix(".raw")
    raw.write_bytes(b"data" * (MIB // 4))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path) -> None:
    path.touch()


def vmdk_of_a_host_file(path: Path) -> None:
    """A text that QEMU takes for a disk, and that names its content."""
    path.write_text(
        "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
        f'createType="monolithicFlat"\nRW 8 FLAT "{SECRET}" 0\n'
    )


def vmdk(path: Path) -> None:
    qemu_img("create", "-f", "vmdk", path, MIB)


def vhdx(path: Path) -> None:
    qemu_img("create", "-f", "vhdx", path, MIB)


def vdi(path: Path) -> None:
    qemu_img("create", "-f", "vdi", path, MIB)


def vhd(path: Path) -> None:
    qemu_img("create", "-f", "vpc", path, MIB)


def qed(path: Path) -> None:
    qemu_img("create", "-f", "qed", path, MIB)


def luks(path: Path) -> None:
    path.write_bytes(b"LUKS\xba\xbe\x00\x01".ljust(MIB, b"\0"))


def iso(path: Path) -> None:
    path.write_bytes((bytes(32768) + b"\x01CD001\x01").ljust(MIB, b"\0"))


def two_in_one(path: Path) -> None:
    """A plain qcow2 to who reads its beginning, an ISO to who looks further on."""
    qcow2(path)
    _patch(path, 32768, b"\x01CD001\x01")


def _patch(path: Path, offset: int, new: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(new)


Make = Callable[[Path], None]

REFUSED: tuple[tuple[Make, str, str], ...] = (
    (with_backing_file, "qcow2", "backing file"),
    (with_backing_protocol, "qcow2", "backing file"),
    (with_backing_block_device, "qcow2", "backing file"),
    (with_data_file, "qcow2", "data_file"),
    (with_unknown_feature, "qcow2", "Unknown QCOW2 features"),
    (of_unknown_version, "qcow2", "Unsupported qcow2 version"),
    (encrypted, "qcow2", "encrypted"),
    (boundless, "qcow2", "disk of 18446744073709551104 bytes"),
    (cut_in_the_header, "qcow2", "its content is raw"),
    (cut_in_the_data, "qcow2", "damaged"),
    (two_in_one, "qcow2", "iso and qcow2"),
    (two_in_one, "iso", "iso and qcow2"),
    (empty, "raw", "empty"),
    (empty, "qcow2", "empty"),
    (qcow2, "raw", "its content is qcow2"),
    (with_backing_file, "raw", "its content is qcow2"),
    (vmdk_of_a_host_file, "raw", "its content is vmdk"),
    (vmdk_of_a_host_file, "vmdk", "format 'vmdk' is none of"),
    (vmdk_of_a_host_file, "qcow2", "its content is vmdk"),
    (vmdk, "raw", "its content is vmdk"),
    (vhdx, "raw", "its content is vhdx"),
    (vdi, "raw", "its content is vdi"),
    (vhd, "raw", "its content is vhd"),
    (qed, "raw", "its content is qed"),
    (luks, "raw", "its content is luks"),
    (iso, "raw", "its content is iso"),
    (iso, "qcow2", "its content is iso"),
)
"""What is made, what it is declared as, and what the refusal says."""
