"""Media that a machine's own firmware boots from, made without root: a disk, a CD, a floppy.

Each carries the small guest's kernel, and says on its command line which medium it is.
"""

import gzip
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.rings import require
from worker.cmd.demo.guest import KERNEL_ARGUMENTS
from worker.cmd.demo.guest_image import GuestImage

_ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
_LINKER = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
_STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
_PARTS: Mapping[str, str] = {
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "syslinux": "syslinux",
    "xorriso": "xorriso",
    "objcopy": "binutils",
    str(_ISOLINUX): "isolinux",
    str(_LINKER): "syslinux-common",
    str(_STUB): "systemd-boot-efi",
}
_SECTION = re.compile(r"^\s*\d+ \S+\s+([0-9a-f]+)\s+([0-9a-f]+)", re.MULTILINE)
_ALIGNED = 0x10000

_SECTOR = 512
_FLOPPY = 2880 * _SECTOR
_SPEAK = bytes.fromhex(
    "fc"  # cld
    "31c0 8ed8"  # ds = 0
    "be 227c"  # si = what follows this code
    "ac 84c0 7412"  # next letter; after the last one, to the end
    "88c4 bafd03 ec a820 74fb"  # wait for the serial port
    "baf803 88e0 ee ebe9"  # send it, and on
    "f4 ebfd"  # the end: halt, for ever
)
"""The code of a boot sector, which the firmware loads at 0x7c00: it speaks on COM1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootable:
    """Makes media in ``folder`` of an image that has what the guest is to see."""

    image: GuestImage
    folder: Path

    def disk(self, medium: str) -> Path:
        """Make a disk that both firmwares boot from, BIOS and UEFI."""
        _require_parts()
        work = self._work(medium)
        made = self.folder / f"{medium}.img"
        self._loader_files(work, medium, "syslinux.cfg")
        _unified(work, self.image.kernel, work / "initrd.img", command_line(medium))
        _make_fat(made, sum(file.stat().st_size for file in work.iterdir()))
        _run("mmd", "-i", made, "::/EFI", "::/EFI/BOOT")
        _run("mcopy", "-i", made, work / "vmlinuz", work / "initrd.img", "::/")
        _run("mcopy", "-i", made, work / "syslinux.cfg", "::/")
        _run("mcopy", "-i", made, work / "unified.efi", "::/EFI/BOOT/BOOTX64.EFI")
        _run("syslinux", "--install", made)
        shutil.rmtree(work)
        return made

    def cd(self, medium: str) -> Path:
        """Make a CD that a BIOS boots from."""
        _require_parts()
        work = self._work(medium)
        made = self.folder / f"{medium}.iso"
        self._loader_files(work, medium, "isolinux.cfg")
        for part in (_ISOLINUX, _LINKER):
            shutil.copy(part, work)
        boot = ("-b", "isolinux.bin", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
        _run("xorriso", "-as", "mkisofs", "-quiet", "-o", made, *boot, work)
        shutil.rmtree(work)
        return made

    def floppy(self, message: str) -> Path:
        """Make a floppy whose boot sector says the message on the serial port, and halts."""
        made = self.folder / "floppy.img"
        made.write_bytes(boot_sector(message).ljust(_FLOPPY, b"\0"))
        return made

    def _work(self, medium: str) -> Path:
        work = self.folder / f"{medium}.work"
        work.mkdir(parents=True)
        return work

    def _loader_files(self, work: Path, medium: str, config: str) -> None:
        shutil.copy(self.image.kernel, work / "vmlinuz")
        # A BIOS reads slowly.
        packed = gzip.compress(self.image.initrd.read_bytes(), compresslevel=1)
        (work / "initrd.img").write_bytes(packed)
        (work / config).write_text(
            "DEFAULT only\nPROMPT 0\nLABEL only\n  LINUX /vmlinuz\n  INITRD /initrd.img\n"
            f"  APPEND {command_line(medium)}\n"
        )


def command_line(medium: str) -> str:
    """Return what the guest's kernel is told by that medium."""
    return f"{KERNEL_ARGUMENTS} {medium_word(medium)}"


def medium_word(medium: str) -> str:
    """Return the word in the command line that names the medium."""
    return f"medium={medium}"


def boot_sector(message: str) -> bytes:
    """Return a sector that says the message, and a new line, on the serial port."""
    said = _SPEAK + message.encode() + b"\r\n\0"
    return said.ljust(_SECTOR - 2, b"\0") + b"\x55\xaa"


def _require_parts() -> None:
    missing = [package for part, package in _PARTS.items() if not _installed(part)]
    require(not missing, f"packages {', '.join(missing)}")


def _installed(part: str) -> bool:
    return Path(part).exists() if part.startswith("/") else _program(part) is not None


def _program(name: str) -> str | None:
    # An ordinary user's PATH lacks the folder where mkfs is.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _run(program: str, *words: str | Path) -> str:
    command = [_program(program) or program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _make_fat(path: Path, least: int) -> None:
    with path.open("xb") as file:
        # Room for the tables, and whole tracks for the BIOS.
        file.truncate((least // (1 << 20) + 4) << 20)
    _run("mkfs.vfat", path)


def _unified(work: Path, kernel: Path, initrd: Path, line: str) -> None:
    """Join kernel, ramdisk and command line into one program for UEFI."""
    told = work / "line"
    told.write_text(line)
    words, place = [], _end_of(_STUB)
    for name, file in {".cmdline": told, ".linux": kernel, ".initrd": initrd}.items():
        words += ["--add-section", f"{name}={file}", "--change-section-vma", f"{name}={place:#x}"]
        place = _after(place, file.stat().st_size)
    _run("objcopy", *words, _STUB, work / "unified.efi")
    told.unlink()


def _end_of(program: Path) -> int:
    """Return the first place behind all sections of the program."""
    found = _SECTION.findall(_run("objdump", "-h", program))
    return max(_after(int(place, 16), int(size, 16)) for size, place in found)


def _after(place: int, size: int) -> int:
    return (place + size + _ALIGNED) // _ALIGNED * _ALIGNED
