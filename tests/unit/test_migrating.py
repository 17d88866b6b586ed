"""Which devices get the aliases of their rows, and that nothing else of a domain is changed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.unit.test_lookup import DISK, INTERFACE, OTHER, ROW, SOURCE, STICK, layout
from worker.errors import DeviceAmbiguous
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.guest import GuestDisk, GuestHostDevice, GuestInterface, Layout
from worker.model.host_device import HostDevice
from worker.model.identity.marking import MarkChange, peripheral_changes, peripheral_ways_back
from worker.model.identity.marks import Adoption, Former, Marks
from worker.model.identity.migrating import Known, Migrated, Result, changes_of, migration_of
from worker.model.ids import BlockDeviceId, PeripheralId, PortId
from worker.model.peripheral import Peripheral
from worker.model.places.address import Address, PciAddress, UsbAddress
from worker.model.specification import Interface, InterfaceKind
from worker.virt.xml.layout import read_layout
from worker.virt.xml.marks import remarked, without_aliases

MAC = "52:54:00:00:00:01"
PLACES = tuple(PciAddress(bus=bus, slot=0) for bus in range(3, 9))
ATTACHED = replace(ROW, status=DeviceStatus.ATTACHED)
LOCAL = replace(
    ATTACHED,
    uuid=BlockDeviceId("0c6b3b1e-0000-4000-8000-00000000000d"),
    volume=None,
    device_name="/dev/vda",
    alias="ua-0c6b3b1e-0000-4000-8000-00000000000d",
    serial="0c6b3b1e-0000-4000-8000-00000000000d",
    address=None,
)
FIRST = replace(INTERFACE, status=DeviceStatus.ATTACHED, address=PLACES[1])
SECOND = replace(
    FIRST,
    uuid=PeripheralId("0c6b3b1e-0000-4000-8000-00000000000e"),
    what=Interface(port=PortId("port-2"), kind=InterfaceKind.USER, mac=MAC),
    alias="ua-port-2",
    address=PLACES[2],
)
KEY = Peripheral(
    uuid=PeripheralId("0c6b3b1e-0000-4000-8000-00000000000f"),
    instance=ROW.instance,
    what=STICK,
    alias="ua-0c6b3b1e-0000-4000-8000-00000000000f",
    address=UsbAddress(port=2),
    status=DeviceStatus.ATTACHED,
)
KNOWN = Known(
    rows=(ATTACHED, LOCAL),
    peripherals=(FIRST, SECOND, KEY),
    sources={ATTACHED.uuid: SOURCE, LOCAL.uuid: "/local/root"},
)
NET = GuestInterface(mac=MAC, alias=None, address=PLACES[1], kind="user")
HOSTDEV = GuestHostDevice(source=STICK, alias=None, address=UsbAddress(port=2))


def of(row: BlockDevice | Peripheral, found: Sequence[Migrated]) -> Migrated:
    return next(one for one in found if one.uuid == row.uuid)


def migrated(*devices: GuestDisk | GuestInterface | GuestHostDevice) -> tuple[Migrated, ...]:
    return migration_of(layout(*devices), KNOWN)


def test_each_kind_of_device_is_given_the_alias_of_its_row() -> None:
    root = replace(DISK, target="vda", source="/local/root", serial=None, alias=None, address=None)
    twin = replace(NET, address=PLACES[2])
    devices: list[GuestDisk | GuestInterface | GuestHostDevice]
    devices = [replace(DISK, alias=None), root, twin, NET, HOSTDEV]
    found = migrated(*devices)
    assert {one.result for one in found} == {Result.GIVEN}
    written = {change.wanted.alias: change.device for change in changes_of(found)}
    assert written == {
        ATTACHED.alias: devices[0],
        LOCAL.alias: root,
        FIRST.alias: NET,
        SECOND.alias: twin,
        KEY.alias: HOSTDEV,
    }


def test_a_serial_stays_as_the_guest_knows_it() -> None:
    for serial in (None, ATTACHED.serial):
        (change,) = changes_of(migrated(replace(DISK, alias=None, serial=serial)))
        assert change.former == Marks(alias=None, serial=serial)
        assert change.wanted == Marks(alias=ATTACHED.alias, serial=serial)


def test_what_bears_its_alias_is_left_alone() -> None:
    found = of(ATTACHED, migrated(replace(DISK, alias=ROW.alias)))
    assert (found.result, found.public()["found_by"]) == (Result.BORNE, "alias")
    assert changes_of([found]) == ()


def test_a_device_in_doubt_is_skipped_and_both_are_named() -> None:
    found = of(ATTACHED, migrated(DISK, replace(OTHER, serial=ROW.serial)))
    assert found.result is Result.SKIPPED
    assert "vdb" in str(found.why)
    assert "vdc" in str(found.why)
    assert changes_of([found]) == ()


def test_a_doubt_keeps_no_other_device_from_its_alias() -> None:
    found = migrated(DISK, replace(OTHER, serial=ROW.serial), NET)
    assert [change.wanted.alias for change in changes_of(found)] == [FIRST.alias]


def test_a_device_that_is_not_there_is_said_to_be_absent() -> None:
    found = migrated(OTHER)
    assert {one.result for one in found} == {Result.ABSENT}
    assert "no two facts" in str(of(ATTACHED, found).why)
    unknown = migration_of(layout(OTHER), replace(KNOWN, sources={}))
    assert "not known" in str(of(LOCAL, unknown).why)


def test_no_layout_has_no_device() -> None:
    assert {one.result for one in migration_of(None, KNOWN)} == {Result.ABSENT}


@pytest.mark.parametrize(
    "status", [DeviceStatus.RESERVED, DeviceStatus.ATTACHING, DeviceStatus.MISSING]
)
def test_a_row_whose_device_is_not_meant_to_be_there_is_not_looked_for(
    status: DeviceStatus,
) -> None:
    known = Known(
        rows=[replace(ATTACHED, status=status)], peripherals=[replace(FIRST, status=status)]
    )
    assert migration_of(layout(DISK, NET), known) == ()


def test_an_alias_that_a_device_of_another_kind_bears_is_not_given_twice() -> None:
    borne = of(ATTACHED, migrated(DISK, replace(NET, alias=ATTACHED.alias, address=PLACES[5])))
    assert (borne.result, "bears its alias" in str(borne.why)) == (Result.SKIPPED, True)
    console = replace(layout(DISK), others=frozenset({ATTACHED.alias}))
    assert of(ATTACHED, migration_of(console, KNOWN)).result is Result.SKIPPED


def test_of_two_rows_with_one_alias_neither_gets_it() -> None:
    other = replace(LOCAL, alias=ATTACHED.alias)
    root = replace(DISK, target="vda", source="/local/root", serial=None, alias=None, address=None)
    known = replace(KNOWN, rows=(ATTACHED, other))
    found = migration_of(layout(DISK, root), known)
    assert {of(row, found).result for row in (ATTACHED, other)} == {Result.SKIPPED}
    assert "same alias" in str(of(other, found).why)


def test_of_two_rows_that_find_one_device_neither_gets_it() -> None:
    other = replace(ATTACHED, uuid=LOCAL.uuid, alias=LOCAL.alias)
    known = Known(
        rows=(ATTACHED, other), sources=dict.fromkeys((ATTACHED.uuid, LOCAL.uuid), SOURCE)
    )
    found = migration_of(layout(DISK), known)
    assert {one.result for one in found} == {Result.SKIPPED}
    assert "another row finds" in str(found[0].why)


def test_a_former_alias_of_our_form_is_replaced_and_any_other_is_not() -> None:
    theirs = replace(DISK, alias="ua-theirs")
    assert of(ATTACHED, migrated(theirs)).result is Result.ABSENT
    former = Former(device=ATTACHED.uuid, marks=Marks(alias="ua-theirs"))
    adopted = replace(KNOWN, adoption=Adoption(former=(former,)))
    found = of(ATTACHED, migration_of(layout(theirs), adopted))
    assert (found.result, found.former) == (Result.GIVEN, "ua-theirs")
    assert found.public() | {"why": None} == {
        "uuid": ATTACHED.uuid,
        "name": "/dev/vdb",
        "kind": "disk",
        "alias": ATTACHED.alias,
        "former_alias": "ua-theirs",
        "found_by": "facts",
        "result": "given",
        "why": None,
    }


def test_an_adopted_peripheral_gets_its_alias_and_its_former_one_back() -> None:
    row = replace(FIRST, former="ua-theirs")
    theirs = replace(NET, alias="ua-theirs")
    (there,) = peripheral_changes(layout(theirs), [row])
    assert (there.former.alias, there.wanted.alias) == ("ua-theirs", FIRST.alias)
    ours = replace(NET, alias=FIRST.alias)
    (back,) = peripheral_ways_back(layout(ours), [row])
    assert (back.former.alias, back.wanted.alias) == (FIRST.alias, "ua-theirs")
    assert peripheral_changes(layout(ours), [row])[0].device == ours
    assert peripheral_changes(layout(replace(NET, alias="virtio-net0")), [row]) == ()
    assert peripheral_ways_back(layout(replace(theirs, alias="ua-else")), [row]) == ()


def test_a_text_in_which_an_alias_would_be_twice_is_refused() -> None:
    text = f"""<domain><devices><disk><target dev='vdb'/></disk>
      <controller><alias name='{ATTACHED.alias}'/></controller></devices></domain>"""
    (disk,) = read_layout(text).disks
    change = MarkChange(device=disk, former=Marks(), wanted=Marks(alias=ATTACHED.alias))
    with pytest.raises(DeviceAmbiguous, match="another bears it"):
        remarked(text, [change])


# Domain XML of whatever hands.

ALIASES = ("", "virtio-disk0", "ua-theirs", *(row.alias for row in (ATTACHED, LOCAL, FIRST, KEY)))
NOTHING = st.just("")
EXTRAS = (
    "<!-- by hand -->",
    "<their:note xmlns:their='urn:their' a='1'><alias name='ua-nested'/></their:note>",
    "<iotune><total_bytes_sec>1048576</total_bytes_sec></iotune>",
    "<blockio logical_block_size='512'/>",
    "<auth username='them'><secret type='iscsi' usage='x'/></auth>",
    "<unheard-of>text</unheard-of>",
    "<encryption format='luks'/>",
)
SPOTS: tuple[Address | None, ...] = (*PLACES[:3], None)
SOURCES = (SOURCE, "/local/root", "/elsewhere")
SERIALS = ("", str(ATTACHED.serial), str(LOCAL.serial), "THEIRS")


def alias() -> st.SearchStrategy[str]:
    return st.sampled_from([f"<alias name='{name}'/>" if name else "" for name in ALIASES])


def pci() -> st.SearchStrategy[str]:
    written = [
        "" if spot is None else f"<address type='pci' bus='{spot.bus}' slot='0'/>"
        for spot in SPOTS
        if spot is None or isinstance(spot, PciAddress)
    ]
    return st.sampled_from(written)


def device(tag: str, *children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return an element whose children are in any order, some missing, some of other hands."""
    more = st.lists(st.sampled_from(EXTRAS), max_size=2).map("".join)
    return (
        st.tuples(*(st.one_of(child, NOTHING) for child in children), more)
        .flatmap(st.permutations)
        .map(lambda found: f"<{tag}>{''.join(found)}</{tag.split(maxsplit=1)[0]}>\n")
    )


def disks() -> st.SearchStrategy[str]:
    return device(
        "disk type='file'",
        st.sampled_from([f"<target dev='{name}' bus='virtio'/>" for name in ("vda", "vdb")]),
        st.sampled_from([f"<source file='{path}'/>" for path in SOURCES]),
        st.sampled_from([f"<serial>{serial}</serial>" if serial else "" for serial in SERIALS]),
        alias(),
        pci(),
    )


def interfaces() -> st.SearchStrategy[str]:
    macs = [f"<mac address='{mac}'/>" for mac in (MAC, "52:54:00:00:00:02")]
    return device("interface type='user'", st.sampled_from(macs), alias(), pci())


def host_devices() -> st.SearchStrategy[str]:
    sources = ["<source><vendor id='0x046d'/><product id='0xc52b'/></source>", "<source/>"]
    places = ["<address type='usb' bus='0' port='2'/>", ""]
    return device(
        "hostdev mode='subsystem' type='usb'",
        st.sampled_from(sources),
        alias(),
        st.sampled_from(places),
    )


WHOLE = (
    f"<disk type='file'><source file='{SOURCE}'/><target dev='vdb' bus='virtio'/></disk>",
    (
        "<disk type='file'><source file='/local/root'/><!-- by hand --><serial>"
        f"{LOCAL.serial}</serial></disk>"
    ),
    *(
        f"<interface type='user'><mac address='{MAC}'/>"
        f"<address type='pci' bus='{place.bus}' slot='0'/></interface>"
        for place in PLACES[1:3]
    ),
    (
        "<hostdev type='usb'><source><vendor id='0x046d'/><product id='0xc52b'/></source>"
        "<address type='usb' bus='0' port='2'/></hostdev>"
    ),
)
"""A device of each row, as a look-up finds it."""


def domains() -> st.SearchStrategy[str]:
    strange = (disks(), interfaces(), host_devices(), device("controller", alias()))
    one = st.one_of(st.sampled_from(WHOLE), *strange)
    inner = st.lists(one, max_size=7).map(lambda found: f"<devices>{''.join(found)}</devices>")
    return st.one_of(inner, inner, inner, NOTHING).map(
        lambda devices: f"<domain><name>g</name><!-- kept -->{devices}<metadata/></domain>"
    )


def migrate(text: str) -> str:
    return remarked(text, changes_of(migration_of(read_layout(text), KNOWN)))


def plain(text: str) -> bytes:
    """Return all that a text says, but for the aliases of its devices."""
    tree = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    for found in tree.findall("devices/*/alias"):
        parent = found.getparent()
        assert parent is not None
        parent.remove(found)
    return etree.tostring(tree, method="c14n")


def borne(layout_: Layout) -> Counter[str]:
    return Counter(one.alias for one in layout_.devices if one.alias)


@given(domains())
def test_any_domain_is_migrated_once_and_loses_nothing(text: str) -> None:
    once = migrate(text)
    assert migrate(once) == once
    assert plain(once) == plain(text)
    before, after = borne(read_layout(text)), borne(read_layout(once))
    ours = {row.alias for row in KNOWN.rows} | {row.alias for row in KNOWN.peripherals}
    for name in after:
        assert after[name] <= max(before[name], name in ours)
    assert set(after) - set(before) <= ours
    others = Counter(name for name in before.elements() if name.startswith("ua-"))
    assert all(after[name] >= number for name, number in others.items())


@given(domains())
def test_any_domain_is_written_without_aliases_and_without_losing_more(text: str) -> None:
    written = without_aliases(text)
    assert plain(written) == plain(text)
    assert not [name for name in borne(read_layout(written)) if name.startswith("ua-")]
    assert "ua-nested" in written or "ua-nested" not in text
    assert without_aliases(written) == written


def test_an_own_alias_of_the_hypervisor_stays() -> None:
    text = "<domain><devices><disk><alias name='virtio-disk0'/></disk></devices></domain>"
    assert without_aliases(text) == text


def test_text_that_an_alias_stands_before_is_not_lost() -> None:
    text = "<domain><devices><disk>\n <alias name='ua-x'/>\n said</disk></devices></domain>"
    assert "said" in without_aliases(text)
    behind = text.replace("<alias", "<target dev='vda'/><alias")
    assert "said" in without_aliases(behind)


def test_a_host_device_is_named_as_it_is_asked_for() -> None:
    assert isinstance(KEY.what, HostDevice)
    assert of(KEY, migrated(HOSTDEV)).name == "usb:046d:c52b"
