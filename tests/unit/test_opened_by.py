"""A start opens a disk by the user and the addresses of the day, under the same name."""

from dataclasses import replace

import pytest

from tests import fakes
from tests.unit import power_scenes
from tests.unit.scenes import DEVICE, INSTANCE, operation
from worker.handlers.parts.restore_disks import plug
from worker.model.disk import Disk, disk_of
from worker.model.source import (
    BlockSource,
    DiskOptions,
    DiskSource,
    FileSource,
    HostVolume,
    IscsiSource,
    RbdSource,
)
from worker.virt.xml.disk import disk_element
from worker.virt.xml.layout import read_layout

ONE, OTHER, THIRD = ("192.0.2.1", 6789), ("192.0.2.2", 6789), ("2001:db8::1", 3300)
IMAGE = RbdSource(pool="volumes", image="volume-1", hosts=(ONE, OTHER), user="us")
LUN = IscsiSource(host="192.0.2.1", port=3260, iqn="iqn.2026-11.org.example:a", lun=1, initiator="")


def plugged(before: RbdSource, after: RbdSource) -> DiskSource:
    """Plug the one into a stopped guest that has the other; return what it has then."""
    world = power_scenes.off()
    row = world.rows[DEVICE]
    guest = world.guests[INSTANCE]
    guest.persistent[row.alias] = made(before)
    ports = fakes.ports(world, operation("start_instance", instance_uuid=INSTANCE))
    volume = HostVolume(source=after, options=DiskOptions())
    plug(row, volume, ports.guests.describe(INSTANCE), ports)
    return guest.persistent[row.alias].source


def made(source: DiskSource) -> Disk:
    row = power_scenes.off().rows[DEVICE]
    return disk_of(row, HostVolume(source=source, options=DiskOptions()))


@pytest.mark.parametrize(
    "after",
    [
        replace(IMAGE, hosts=(ONE, THIRD)),
        replace(IMAGE, hosts=(ONE, OTHER, THIRD)),
        replace(IMAGE, user="others"),
        replace(IMAGE, user=None),
    ],
)
def test_the_next_start_is_told_of_other_monitors_and_another_user(after: RbdSource) -> None:
    assert plugged(IMAGE, after) == after


def test_the_same_monitors_in_another_order_change_nothing() -> None:
    assert plugged(IMAGE, replace(IMAGE, hosts=(OTHER, ONE))) == IMAGE


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (IMAGE, "us@192.0.2.1:6789,192.0.2.2:6789"),
        (replace(IMAGE, user=None), "@192.0.2.1:6789,192.0.2.2:6789"),
        (replace(IMAGE, hosts=(THIRD, ONE)), "us@192.0.2.1:6789,[2001:db8::1]:3300"),
        (LUN, ""),
        (replace(LUN, user="them"), "them@"),
        (BlockSource(path="/dev/sdx"), ""),
        (FileSource(path="/srv/x"), ""),
    ],
)
def test_a_layout_is_read_to_have_what_it_was_given(source: DiskSource, said: str) -> None:
    disk = disk_element(replace(made(source), secret_usage="blockworker/i/d"))
    (shown,) = read_layout(f"<domain><devices>{disk}</devices></domain>").disks
    assert shown.opened_by == source.opened_by == said


def test_monitors_that_say_no_port_listen_where_monitors_do() -> None:
    text = (
        "<domain><devices><disk type='network'><auth username='us'/>"
        "<source protocol='rbd' name='p/i'><host name='192.0.2.1'/></source>"
        "</disk></devices></domain>"
    )
    (shown,) = read_layout(text).disks
    assert shown.opened_by == "us@192.0.2.1:6789"
