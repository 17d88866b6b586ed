"""Files that a domain's text names beside its disks: ours are found, others left alone."""

from pathlib import Path

import pytest

from worker.model.moving.beside import Beside
from worker.virt.xml.beside import beside_of, nvram_folder, placed

UUID = "6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e001"
OURS = f"/old/{UUID}/console.log"
URI = "qemu:///system"


def text(*, boot: str = "<os><type>hvm</type></os>", devices: str = "") -> str:
    return f"<domain><name>web</name><uuid>{UUID}</uuid>{boot}<devices>{devices}</devices></domain>"


@pytest.mark.parametrize(
    "port",
    [
        f"<serial type='pty'><log file='{OURS}' append='on'/></serial>",
        f"<serial type='file'><source path='{OURS}'/></serial>",
        f"<console type='file'><source path='{OURS}'/></console>",
    ],
)
def test_the_console_is_named_where_it_is_now(port: str) -> None:
    before = text(devices=port)
    assert beside_of(before, URI) == Beside(console=OURS)
    now = Beside(console=f"/new/{UUID}/console.log")
    after = placed(before, now)
    assert after == before.replace("'", '"').replace("/old/", "/new/")
    assert beside_of(after, URI) == now


@pytest.mark.parametrize(
    "port",
    [
        "<serial type='pty'><log file='/their/console.log'/></serial>",
        "<serial type='file'><source path='/their/file'/></serial>",
        f"<serial type='dev'><source path='/dev/{UUID}'/></serial>",
        f"<channel type='file'><source path='{OURS}'/></channel>",
    ],
)
def test_what_others_have_written_elsewhere_stays(port: str) -> None:
    before = text(devices=port)
    assert beside_of(before, URI) == Beside()
    assert placed(before, Beside(console="/new")) == before.replace("'", '"')


@pytest.mark.parametrize(
    "nvram", ["<nvram template='/t'>/old/vars</nvram>", "<nvram><source file='/old/vars'/></nvram>"]
)
def test_the_firmwares_variables_are_named_where_they_are_now(nvram: str) -> None:
    before = text(boot=f"<os><loader/>{nvram}</os>", devices="<emulator/>")
    assert beside_of(before, URI).nvram == "/old/vars"
    after = placed(before, Beside(nvram="/new/vars"))
    assert after == before.replace("'", '"').replace("/old/vars", "/new/vars")


def test_where_libvirt_chooses_the_firmware_its_own_folder_has_the_variables() -> None:
    before = text(boot="<os firmware='efi'><type>hvm</type></os>")
    assert beside_of(before, URI).nvram == "/var/lib/libvirt/qemu/nvram/web_VARS.fd"
    assert beside_of(before, "qemu+ssh://far/system").nvram is None
    assert beside_of(placed(before, Beside(nvram="/new/vars")), URI).nvram == "/new/vars"


def test_a_machine_without_such_firmware_gets_no_variables() -> None:
    assert "nvram" not in placed(text(), Beside(nvram="/new/vars", kernel="/k", ramdisk="/r"))


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("qemu:///system", "/var/lib/libvirt/qemu/nvram"),
        ("qemu+unix:///system?socket=/s/run/libvirt/libvirt-sock", "/s/lib/libvirt/qemu/nvram"),
        ("qemu+unix:///session?socket=/s/run/libvirt/libvirt-sock", "/s/config/libvirt/qemu/nvram"),
        ("qemu:///session", str(Path("~/.config/libvirt/qemu/nvram").expanduser())),
        ("qemu+tls://far/system", None),
        ("test:///default", None),
    ],
)
def test_each_libvirt_has_its_own_folder(uri: str, folder: str | None) -> None:
    assert nvram_folder(uri) == (None if folder is None else Path(folder))
