"""The small guest's parts that need no guest: its domain, its archive, its reports."""

import lzma
from pathlib import Path

import pytest
from lxml import etree

from worker.cmd.demo.guest import GuestConsole, GuestReport, GuestSilent, domain_xml
from worker.cmd.demo.guest_image import GuestImage, GuestImageUnavailable, build_guest_image
from worker.cmd.demo.initramfs import ModuleMissing, load_modules, make_initramfs

_IMAGE = GuestImage(kernel=Path("/k"), initrd=Path("/i"))
_UUID = "0f2b8f7e-95ff-4fd5-8a0a-0b7c9f3f6c11"


def _line(sequence: int, device: str) -> bytes:
    disk = f'"{device}": {{"size": 1024, "serial": "s"}}'
    seen = f'"disks": {{{disk}}}, "interfaces": {{"eth0": "52:54:00:00:00:01"}}'
    return f'BLOCKWORKER-SEES {{"sequence": {sequence}, "uptime": 1.5, {seen}}}\r\n'.encode()


def test_the_newest_whole_report_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"SeaBIOS\r\n" + _line(1, "vda") + _line(2, "vdb") + _line(3, "vdc")[:-5])

    assert GuestConsole(log).disks() == {"vdb": GuestReport(device="vdb", size=1024, serial="s")}


def test_a_report_tells_where_a_disk_is_and_what_was_booted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    where = b'"serial": "s", "path": "pci0000:00/virtio0"'
    told = _line(1, "vda").replace(b'"serial": "s"', where)
    log.write_bytes(told.replace(b"}}\r\n", b'}, "command_line": "quiet medium=root"}\r\n'))

    report = GuestConsole(log).last()

    assert report is not None
    assert report.disks["vda"].path == "pci0000:00/virtio0"
    assert report.command_line == "quiet medium=root"


def test_a_report_tells_of_interfaces_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(_line(1, "vda"))

    seen = GuestConsole(log).wait_for_interfaces(lambda found: "eth0" in found, timeout=0.01)

    assert seen == {"eth0": "52:54:00:00:00:01"}


@pytest.mark.parametrize("noise", [b"{", b"[]", b'{"disks": 3}', b'{"disks": {"vda": 1}}', b""])
def test_a_line_that_the_kernel_wrote_into_is_no_report(tmp_path: Path, noise: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(_line(1, "vda") + b"BLOCKWORKER-SEES " + noise + b"\r\n")

    assert set(GuestConsole(log).disks()) == {"vda"}


def test_a_guest_that_is_not_up_has_no_disks(tmp_path: Path) -> None:
    assert GuestConsole(tmp_path / "log").disks() == {}


def test_a_silent_guest_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"Kernel panic")

    with pytest.raises(GuestSilent, match="Kernel panic"):
        GuestConsole(log).wait_for(lambda _disks: True, timeout=0.01)


def test_an_old_report_is_not_fresh(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(_line(1, "vda"))

    with pytest.raises(GuestSilent):
        GuestConsole(log).fresh(timeout=0.01)


def test_q35_names_its_root_and_has_the_ports_asked_for() -> None:
    domain = etree.fromstring(domain_xml("n", _UUID, _IMAGE, Path("/log"), ports=9))

    models = [found.get("model") for found in domain.iterfind("devices/controller[@type='pci']")]
    assert models == ["pcie-root"] + ["pcie-root-port"] * 9


def test_pc_has_no_pcie_ports_and_a_guest_may_lack_scsi() -> None:
    xml = domain_xml("n", _UUID, _IMAGE, Path("/log"), machine="pc", scsi=False)

    kinds = [found.get("type") for found in etree.fromstring(xml).iterfind("devices/controller")]
    assert kinds == ["usb"]


def test_disks_given_at_boot_are_in_the_domain() -> None:
    disk = "<disk type='file' device='disk'><target dev='vda' bus='virtio'/></disk>"

    domain = etree.fromstring(domain_xml("n", _UUID, _IMAGE, Path("/log"), extra_disks=[disk]))

    assert [found.get("dev") for found in domain.iterfind("devices/disk/target")] == ["vda"]


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    (tmp_path / "modules.builtin").write_text("kernel/lib/built-in.ko\n", encoding="utf-8")
    (tmp_path / "top.ko").write_bytes(b"\0depends=low-one,built_in\0")
    (tmp_path / "low-one.ko.xz").write_bytes(lzma.compress(b"\0depends=\0"))
    (tmp_path / "odd.ko.zst").write_bytes(b"")
    return tmp_path


def test_a_module_comes_after_what_it_needs(modules: Path) -> None:
    found = load_modules(modules, ["top", "low_one", "built_in"])

    assert list(found) == ["low_one", "top"]
    assert found["low_one"] == b"\0depends=\0"


@pytest.mark.parametrize(("name", "said"), [("none", "no module none"), ("odd", ".zst")])
def test_a_module_that_cannot_be_had_is_named(modules: Path, name: str, said: str) -> None:
    with pytest.raises(ModuleMissing, match=said):
        load_modules(modules, [name])


def test_the_archive_is_the_same_each_time_and_padded() -> None:
    archive = make_initramfs(b"busybox", {"top": b"module"})

    assert archive == make_initramfs(b"busybox", {"top": b"module"})
    assert archive.startswith(b"070701")
    assert len(archive) % 4 == 0
    assert b"TRAILER!!!" in archive


def test_an_unknown_flavour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GuestImageUnavailable, match="cloud-amd64"):
        build_guest_image(tmp_path, "rt")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(GuestImageUnavailable, match="file"):
        build_guest_image(tmp_path / "file")
