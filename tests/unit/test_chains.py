"""What QEMU's answers say of its disks, the rare ones included."""

from typing import Any

import pytest

from worker.virt.qemu.chains import Answers, Chain, numbers_in

VOLUME = "6ad1ac43-7ac3-4a0d-bcd7-d5b5a1a1a2d1"
ALIAS = f"ua-{VOLUME}"
Json = dict[str, Any]


def node(name: str, file: str) -> Json:
    return {"node-name": name, "file": file}


def image(number: int, file: str) -> list[Json]:
    return [node(f"libvirt-{number}-storage", file), node(f"libvirt-{number}-format", file)]


def block(qdev: str | None, root: str, *files: str) -> Json:
    """A device on an image and those that back it."""
    shown: Json = {}
    for file in reversed(files):
        shown = {"filename": file} | ({"backing-image": shown} if shown else {})
    named = {} if qdev is None else {"qdev": qdev}
    return {"device": "", "inserted": {"node-name": root, "image": shown}} | named


def chains(
    blocks: list[Json], nodes: list[Json], *objects: str, known: frozenset[int] = frozenset()
) -> tuple[Chain, ...]:
    named = [{"name": name} for name in ("pc.ram", *objects)]
    return Answers(blocks=blocks, nodes=nodes, objects=named, known=known).chains()


@pytest.mark.parametrize(
    "qdev",
    [ALIAS, f"/machine/peripheral/{ALIAS}/virtio-backend", f"/machine/peripheral/{ALIAS}/0/x[0]"],
)
def test_a_device_is_known_by_its_alias_on_every_bus(qdev: str) -> None:
    (chain,) = chains([block(qdev, "libvirt-2-format", "/v")], image(2, "/v"))
    assert (chain.device, chain.alias) == (ALIAS, ALIAS)
    assert chain.nodes == ("libvirt-2-format", "libvirt-2-storage")
    assert chain.files == ("/v",)


def test_a_device_that_qemu_is_letting_go_of_is_none_any_more() -> None:
    file = f"/pool/{VOLUME}"
    (chain,) = chains([block(None, "libvirt-2-format", file)], image(2, file))
    assert (chain.device, chain.alias) == (None, ALIAS)
    assert chain.nodes == ("libvirt-2-format", "libvirt-2-storage")


def test_a_backing_image_goes_with_what_stands_on_it() -> None:
    nodes = image(3, "/base") + image(2, "/top")
    (chain,) = chains([block(ALIAS, "libvirt-2-format", "/top", "/base")], nodes)
    assert chain.nodes == (
        "libvirt-2-format",
        "libvirt-2-storage",
        "libvirt-3-format",
        "libvirt-3-storage",
    )


def test_secrets_go_with_the_number_that_they_were_made_for() -> None:
    ghost, left = chains(
        [block(ALIAS, "libvirt-2-format", "/v")],
        image(2, "/v"),
        "libvirt-2-storage-auth-secret0",
        "libvirt-12-storage-auth-secret0",
    )
    assert ghost.objects == ("libvirt-2-storage-auth-secret0",)
    assert (left.nodes, left.objects) == ((), ("libvirt-12-storage-auth-secret0",))
    assert left.alias is None


def test_what_libvirt_knows_is_nobodys_leftover() -> None:
    nodes = image(1, "/v") + image(2, "/v") + [node("libvirt-pflash0-storage", "/efi")]
    found = chains([block(ALIAS, "libvirt-2-format", "/v")], nodes, known=frozenset({2}))
    assert [(chain.device, chain.nodes) for chain in found] == [
        (ALIAS, ("libvirt-2-format", "libvirt-2-storage")),
        (None, ("libvirt-1-format", "libvirt-1-storage")),
    ]


def test_a_drive_without_a_medium_has_no_nodes() -> None:
    (chain,) = chains([{"device": "", "qdev": "sata0-0-0"}], [])
    assert (chain.device, chain.nodes) == ("sata0-0-0", ())


@pytest.mark.parametrize(
    ("source", "open_"),
    [("/dev/sdb", True), ("/dev/sd", False), ("pool/image", True), ("pool/other", False)],
)
def test_a_source_is_open_under_its_path_or_within_a_network_name(
    source: str, *, open_: bool
) -> None:
    chain = Chain(device=None, nodes=(), objects=(), files=("/dev/sdb", "rbd:pool/image:id=x"))
    assert chain.opens(source) is open_


@pytest.mark.parametrize(
    ("source", "open_"),
    [
        ("iscsi://127.0.0.1:3261/iqn.2026-11.org.example:a/1", True),
        ("iscsi://127.0.0.1:3261/iqn.2026-11.org.example:a/11", False),
        ("iscsi://127.0.0.1:3261/iqn.2026-11.org.example:b/1", False),
        ("iscsi://127.0.0.1:3260/iqn.2026-11.org.example:a/1", False),
    ],
)
@pytest.mark.parametrize("upper", ["%s", '{"driver": "raw", "file": %s}'])
def test_a_lun_is_open_under_its_portal_target_and_number(
    source: str, upper: str, *, open_: bool
) -> None:
    said = (
        '{"lun": 1, "portal": "127.0.0.1:3261", "initiator-name": "iqn.us:here",'
        ' "driver": "iscsi", "transport": "tcp", "target": "iqn.2026-11.org.example:a"}'
    )
    others = ("/dev/sdb", "nbd://h/x", 'json:{"driver": "null-co"}', 'json:{"file": "node"}')
    chain = Chain(device=None, nodes=(), objects=(), files=(*others, "json:" + upper % said))
    assert chain.opens(source) is open_


def test_a_message_names_numbers() -> None:
    assert numbers_in("Duplicate nodes with node-name='libvirt-7-storage'") == {7}
    assert numbers_in("attempt to add duplicate property 'libvirt-11-storage-secret0'") == {11}
    assert numbers_in("libvirt-pflash0-storage is in use") == frozenset()
