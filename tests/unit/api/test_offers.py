"""Flavors, their file, and the network of ``auto``."""

from pathlib import Path

import pytest

from worker.api.offers import (
    BUILT_IN,
    UNLISTED,
    Flavor,
    Network,
    Offers,
    read_flavors,
    read_network,
)
from worker.errors import Invalid
from worker.model.ids import BlockDeviceId, ImageId, new_uuid
from worker.model.specification import InterfaceKind, LocalDisk, Specification

GIB = 1 << 30


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "flavors.toml"
    path.write_text(text)
    return path


def made_as(vcpus: int = 1, memory: int = 256, **blank: int) -> Specification:
    sizes = {"swap": blank.get("swap", 0), "ext4": blank.get("ephemeral", 0)}
    disks = [
        LocalDisk(uuid=BlockDeviceId(new_uuid()), size=size, filesystem=format_)
        for format_, size in sizes.items()
        if size
    ]
    root = LocalDisk(uuid=BlockDeviceId(new_uuid()), size=GIB, image=ImageId(new_uuid()))
    return Specification(vcpus=vcpus, memory=memory, disks=(root, *disks))


def test_a_file_has_flavors_in_its_order(tmp_path: Path) -> None:
    text = """
        [[flavor]]
        id = "b"
        name = "big"
        vcpus = 8
        memory_mb = 16384
        root_gb = 100
        ephemeral = 10
        swap = 1024
        description = "the largest"

        [[flavor]]
        id = "a"
        name = "small"
        vcpus = 1
        memory_mb = 512
    """
    assert read_flavors(written(tmp_path, text)) == (
        Flavor(
            id="b",
            name="big",
            vcpus=8,
            memory_mb=16384,
            root_gb=100,
            ephemeral=10,
            swap=1024,
            description="the largest",
        ),
        Flavor(id="a", name="small", vcpus=1, memory_mb=512),
    )


ONE = 'id = "a"\nname = "a"\nvcpus = 1\nmemory_mb = 1\n'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("no toml", "cannot be read"),
        ("", "[[flavor]]"),
        ("flavor = []", "[[flavor]]"),
        ("[flavor]\n" + ONE, "[[flavor]]"),
        ("x = 1\n[[flavor]]\n" + ONE, "[[flavor]]"),
        ("[[flavor]]\n" + ONE.replace("vcpus = 1\n", ""), "needed"),
        ("[[flavor]]\n" + ONE + "cpus = 2\n", "known are"),
        ("[[flavor]]\n" + ONE.replace("vcpus = 1", "vcpus = 0"), "vcpus is no number from 1"),
        ("[[flavor]]\n" + ONE.replace("vcpus = 1", "vcpus = true"), "vcpus"),
        ("[[flavor]]\n" + ONE + "swap = -1\n", "swap"),
        ("[[flavor]]\n" + ONE.replace('id = "a"', "id = 1"), "id is no text"),
        ("[[flavor]]\n" + ONE.replace('id = "a"', 'id = "a/b"'), "id is no text"),
        ("[[flavor]]\n" + ONE + "[[flavor]]\n" + ONE, "the same id"),
        ("[[flavor]]\n" + ONE + "[[flavor]]\n" + ONE.replace('id = "a"', 'id = "b"'), "same name"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_flavors(written(tmp_path, text))
    assert word in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        read_flavors(tmp_path / "none.toml")


def test_flavors_are_found_by_id_or_url() -> None:
    offers = Offers()
    assert offers.flavor("1") is BUILT_IN[0]
    assert offers.flavor("http://api/v2.1/flavors/1") is BUILT_IN[0]
    assert offers.flavor("m1.tiny") is None


def test_a_server_is_of_the_flavor_that_is_like_it() -> None:
    exact = Flavor(id="x", name="x", vcpus=1, memory_mb=256, root_gb=1, ephemeral=2, swap=64)
    root = Flavor(id="r", name="r", vcpus=1, memory_mb=256, root_gb=9)
    offers = Offers(flavors=[*BUILT_IN, root, exact])
    sizes = made_as(ephemeral=2 * GIB, swap=64 << 20)
    assert offers.flavor_of(sizes, 1) is exact
    assert offers.flavor_of(made_as(), 1) is BUILT_IN[0]
    assert offers.flavor_of(made_as(ephemeral=5), 9) is root
    assert offers.flavor_of(made_as(), 50).memory_mb == 256


def test_a_server_of_another_size_is_of_no_flavor() -> None:
    found = Offers().flavor_of(made_as(vcpus=3, memory=300), 7)
    assert (found.id, found.vcpus, found.memory_mb, found.root_gb) == (UNLISTED, 3, 300, 7)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        (None, None),
        ("", None),
        ("none", None),
        ("user", Network(kind=InterfaceKind.USER)),
        ("bridge:br0", Network(kind=InterfaceKind.BRIDGE, target="br0")),
    ],
)
def test_auto_is_what_the_option_says(text: str | None, network: Network | None) -> None:
    assert read_network(text) == network


@pytest.mark.parametrize("text", ["bridge", "bridge:", "user:x", "tap:t", "br0"])
def test_a_network_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_network(text)
