"""Who a device says that it is, read from a folder like sysfs and from tools that answer."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ConnectFailed, WrongDevice
from worker.model.source import Seen
from worker.volume.designators import Designator, Kind, designators, page_in, wwid_of
from worker.volume.identity import Devices

MIB = 1 << 20
NAA = bytes.fromhex("6001405a1b2c3d4e5f60718293a4b5c6")
OTHER_NAA = bytes.fromhex("6001405a1b2c3d4e5f60718293a4b5c7")
UUID = "28a1cb39-571c-43b0-8500-e7bfd5c95bcb"


def one(kind: int, value: bytes, about: int = 0) -> bytes:
    return bytes([1, about << 4 | kind, 0, len(value)]) + value


def page(*names: bytes) -> bytes:
    body = b"".join(names)
    return b"\x00\x83" + len(body).to_bytes(2, "big") + body


LUN = page(one(1, b"LIO-ORG volume"), one(3, NAA), one(4, b"\0\0\0\1", about=1))


@dataclass
class Host:
    """A host's devices: what the kernel keeps, and what each answers when it is asked."""

    folder: Path
    answers: dict[tuple[str, ...], str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def ask(self, *command: str) -> str:
        self.asked.append(command)
        if any(name in command[-1] or f"/dev/{name}" in command for name in self.silent):
            raise ConnectFailed(f"{command} does not answer")
        return self.answers[command]

    @property
    def devices(self) -> Devices:
        return Devices(self.ask, self.folder)

    def block(self, name: str, size: int) -> Path:
        found = self.folder / "class" / "block" / name
        found.mkdir(parents=True)
        (found / "size").write_text(f"{size // 512}\n")
        return found

    def disk(self, name: str, size: int = MIB, kept: bytes | None = LUN) -> None:
        """A SCSI disk that says what the kernel keeps."""
        device = self.block(name, size) / "device"
        device.mkdir()
        (device / "scsi_level").write_text("7\n")
        self.says(name, size, kept or b"")
        if kept is not None:
            (device / "vpd_pg83").write_bytes(kept)

    def says(self, name: str, size: int, told: bytes) -> None:
        path = f"/dev/{name}"
        self.answers["sg_readcap", "--brief", path] = f"{size // 512:#x} 0x200\n"
        self.answers["sg_vpd", "--page=0x83", "-HHHH", path] = f"{told.hex(' ')}\n"

    def map(self, name: str, uuid: str, *paths: str, size: int = MIB) -> None:
        found = self.block(name, size)
        (found / "dm").mkdir()
        (found / "dm" / "uuid").write_text(uuid)
        (found / "slaves").mkdir()
        for path in paths:
            (found / "slaves" / path).mkdir()

    def namespace(self, name: str, wwid: str, *controllers: str, size: int = MIB) -> None:
        found = self.block(name, size)
        (found / "wwid").write_text(f"{wwid}\n")
        (found / "nsid").write_text("3\n")
        above = self.folder / "above"
        above.mkdir()
        (found / "device").symlink_to(above)
        for controller in controllers:
            (above / controller).mkdir()
            (above / controller / "state").write_text("live\n")

    def namespace_says(self, controller: str, size: int, uuid: str | None, **ids: str) -> None:
        where = (f"/dev/{controller}", "--namespace-id=3", "--output-format=json")
        formats = [{"ms": 0, "ds": 9}, {"ms": 0, "ds": 12}]
        space = {"nsze": size >> 12, "flbas": 1, "lbafs": formats, **ids}
        described = [{"type": "csi", "csi": "0"}] + ([{"uuid": uuid}] if uuid else [])
        self.answers["nvme", "id-ns", *where] = json.dumps(space)
        self.answers["nvme", "ns-descs", *where] = json.dumps({"ns-descs": described})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_disk_that_says_what_the_kernel_keeps_is_known_by_it(host: Host) -> None:
    host.disk("sda")
    assert host.devices.examine("/dev/sda") == Seen(size=MIB, wwid=f"naa.{NAA.hex()}")


@pytest.mark.parametrize(
    ("size", "told", "said"),
    [
        (2 * MIB, LUN, f"{2 * MIB} bytes, and the kernel has {MIB}"),
        (MIB // 2, LUN, f"{MIB // 2} bytes"),
        (MIB, page(one(3, OTHER_NAA)), f"says that it is naa.{OTHER_NAA.hex()}"),
        (MIB, page(one(1, b"LIO-ORG another"), one(3, NAA)), "says that it is"),
        (MIB, page(), "says that it is nobody"),
    ],
)
def test_a_disk_that_says_otherwise_is_refused(
    host: Host, size: int, told: bytes, said: str
) -> None:
    host.disk("sda")
    host.says("sda", size, told)
    with pytest.raises(WrongDevice, match=said):
        host.devices.examine("/dev/sda")


def test_what_names_a_port_may_differ(host: Host) -> None:
    host.disk("sda")
    host.says("sda", MIB, page(one(1, b"LIO-ORG volume"), one(3, NAA), one(4, b"\0\0\0\2", 1)))
    assert host.devices.examine("/dev/sda").wwid == f"naa.{NAA.hex()}"


def test_a_disk_without_a_page_has_its_size_alone(host: Host) -> None:
    host.disk("sda", kept=None)
    assert host.devices.examine("/dev/sda") == Seen(size=MIB)
    assert {command[0] for command in host.asked} == {"sg_readcap"}


def test_a_disk_that_does_not_answer_is_not_believed(host: Host) -> None:
    host.disk("sda")
    host.silent.add("sda")
    with pytest.raises(ConnectFailed):
        host.devices.examine("/dev/sda")


def test_each_path_of_a_map_is_asked(host: Host) -> None:
    host.disk("sda")
    host.disk("sdb")
    host.map("dm-0", f"mpath-3{NAA.hex()}", "sda", "sdb")
    assert host.devices.examine("/dev/dm-0") == Seen(size=MIB, wwid=f"naa.{NAA.hex()}")
    assert {command[-1] for command in host.asked} == {"/dev/sda", "/dev/sdb"}


@pytest.mark.parametrize("which", ["sda", "sdb"])
def test_one_stale_path_of_a_map_is_enough(host: Host, which: str) -> None:
    host.disk("sda")
    host.disk("sdb")
    host.map("dm-0", f"mpath-3{NAA.hex()}", "sda", "sdb")
    host.says(which, MIB, page(one(3, OTHER_NAA)))
    with pytest.raises(WrongDevice, match=which):
        host.devices.examine("/dev/dm-0")


def test_paths_that_lead_to_two_volumes_make_no_map(host: Host) -> None:
    host.disk("sda")
    host.disk("sdb", kept=page(one(3, OTHER_NAA)))
    host.map("dm-0", f"mpath-3{NAA.hex()}", "sda", "sdb")
    with pytest.raises(WrongDevice, match="another volume"):
        host.devices.examine("/dev/dm-0")


def test_a_path_that_is_cut_is_left_out_and_one_must_answer(host: Host) -> None:
    host.disk("sda")
    host.disk("sdb")
    host.map("dm-0", f"mpath-3{NAA.hex()}", "sda", "sdb")
    host.silent.add("sda")
    assert host.devices.examine("/dev/dm-0").wwid == f"naa.{NAA.hex()}"
    host.silent.add("sdb")
    with pytest.raises(ConnectFailed, match="sda, sdb"):
        host.devices.examine("/dev/dm-0")


@pytest.mark.parametrize(
    ("uuid", "size", "said"),
    [
        (f"mpath-3{OTHER_NAA.hex()}", MIB, "was made for"),
        (f"mpath-3{NAA.hex()}", 2 * MIB, "its paths have"),
    ],
)
def test_a_map_is_of_its_paths(host: Host, uuid: str, size: int, said: str) -> None:
    host.disk("sda")
    host.map("dm-0", uuid, "sda", size=size)
    with pytest.raises(WrongDevice, match=said):
        host.devices.examine("/dev/dm-0")


def test_a_map_by_a_name_that_is_written_is_not_compared(host: Host) -> None:
    host.disk("sda")
    host.map("dm-0", "mpath-1LIO-ORG_volume", "sda")
    assert host.devices.examine("/dev/dm-0").size == MIB


@pytest.mark.parametrize("name", ["vda", "dm-1"])
def test_what_is_neither_is_read_to_its_end(host: Host, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x" * 4096)
    host.block(name, 4096)
    assert host.devices.examine(str(path)) == Seen(size=4096)
    assert host.asked == []


def test_each_controller_of_a_namespace_is_asked(host: Host) -> None:
    host.namespace("nvme0n1", f"uuid.{UUID}", "nvme0", "nvme1")
    for controller in ("nvme0", "nvme1"):
        host.namespace_says(controller, MIB, UUID)
    assert host.devices.examine("/dev/nvme0n1") == Seen(size=MIB, wwid=f"uuid.{UUID}")
    host.namespace_says("nvme1", MIB, UUID.replace("2", "3"))
    with pytest.raises(WrongDevice, match="by nvme1"):
        host.devices.examine("/dev/nvme0n1")
    host.namespace_says("nvme1", 2 * MIB, UUID)
    with pytest.raises(WrongDevice, match=f"{2 * MIB} bytes by nvme1"):
        host.devices.examine("/dev/nvme0n1")


@pytest.mark.parametrize("name", ["nguid", "eui64"])
def test_a_namespace_may_have_an_older_name(host: Host, name: str) -> None:
    host.namespace("nvme0n1", "eui.0123456789abcdef", "nvme0")
    host.namespace_says("nvme0", MIB, None, **{name: "0123456789abcdef"})
    assert host.devices.examine("/dev/nvme0n1").wwid == "eui.0123456789abcdef"
    host.namespace_says("nvme0", MIB, None, nguid="0" * 32, eui64="0" * 16)
    with pytest.raises(WrongDevice, match="is nothing by nvme0"):
        host.devices.examine("/dev/nvme0n1")


def test_a_namespace_that_the_kernel_made_a_name_for_has_none(host: Host) -> None:
    host.namespace("nvme0n1", "nvme.1af4-6e76-51454d55-00000001", "nvme0")
    host.namespace_says("nvme0", MIB, None)
    assert host.devices.examine("/dev/nvme0n1") == Seen(size=MIB)


def test_a_namespace_without_a_live_controller_is_not_believed(host: Host) -> None:
    host.namespace("nvme0n1", f"uuid.{UUID}", "nvme0")
    (host.folder / "above" / "nvme0" / "state").write_text("connecting\n")
    with pytest.raises(ConnectFailed, match="no controller"):
        host.devices.examine("/dev/nvme0n1")


@pytest.mark.parametrize("said", ["{}", "no JSON", '{"lbafs": [], "nsze": 1}'])
def test_a_namespace_that_does_not_say_its_size_is_not_believed(host: Host, said: str) -> None:
    host.namespace("nvme0n1", f"uuid.{UUID}", "nvme0")
    where = ("/dev/nvme0", "--namespace-id=3", "--output-format=json")
    host.answers["nvme", "id-ns", *where] = said
    with pytest.raises(ConnectFailed, match="cannot be read"):
        host.devices.examine("/dev/nvme0n1")


def name(kind: int, value: bytes) -> Designator:
    return Designator(kind=kind, value=value)


@pytest.mark.parametrize(
    ("names", "wwid"),
    [
        ((), None),
        ((name(Kind.NAA, NAA), name(Kind.EUI, b"12345678")), f"naa.{NAA.hex()}"),
        ((name(Kind.NAA, NAA[:8]), name(Kind.NAA, NAA)), f"naa.{NAA.hex()}"),
        ((name(Kind.NAA, bytes.fromhex("6000000000000000000e000000010001")),), None),
        ((name(Kind.NAA, bytes.fromhex("3001405000000001")),), None),
        ((name(Kind.EUI, b"\0" * 8), name(Kind.T10, b"IET     00010001\0\0")), None),
        ((name(Kind.T10, b"IET     volume-7\0"),), "t10.IET     volume-7"),
        ((name(4, b"\0\0\0\1"), name(8, b"iqn.a")), None),
    ],
)
def test_the_most_binding_name_that_is_its_own_counts(
    names: tuple[Designator, ...], wwid: str | None
) -> None:
    assert wwid_of(names) == wwid


@given(
    st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=40)), max_size=5), st.integers(0, 9)
)
def test_a_page_is_read_as_it_was_written_and_cut_off_as_far_as_it_goes(
    names: list[tuple[int, bytes]], cut: int
) -> None:
    whole = page(*(one(kind, value) for kind, value in names))
    expected = tuple(Designator(kind=kind, value=value) for kind, value in names)
    assert designators(whole) == expected
    assert page_in(f"Device Identification VPD page:\n{whole.hex(' ')}\n") == whole
    shorter = designators(whole[: len(whole) - cut])
    assert shorter == expected[: len(shorter)]
