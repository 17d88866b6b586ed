"""What of this host is ours and was left: the rule alone, by what names what."""

from dataclasses import replace

import pytest

from tests.unit import scenes
from tests.unit.residues import OURS, THEIRS, a_map, lun, mount, session
from tests.unit.scenes import DEVICE, OTHER_DEVICE
from worker.model.block_device import BlockDevice
from worker.model.drift import Difference
from worker.model.drift.residue import Claim, Residue, residue
from worker.model.leftover import Leftover, LeftoverKind, bare_wwid, same_wwid

ONE, TWO = f"{OURS}/1", f"{OURS}/2"


def row(uuid: str = DEVICE) -> BlockDevice:
    world = scenes.world()
    scenes.reserve(world)
    return replace(world.rows[DEVICE], uuid=uuid, deleted=True)  # type: ignore[arg-type]


def removed(*marks: str, wwid: str | None = None, uuid: str = DEVICE) -> Claim:
    return Claim(row=row(uuid), marks=frozenset(marks), wwid=wwid)


def live(*marks: str, wwid: str | None = None) -> Claim:
    return Claim(row=None, marks=frozenset(marks), wwid=wwid)


def said(found: Residue) -> list[tuple[str, str, bool]]:
    return [(each.kind.value, _name(each), each.safe) for each in found.differences]


def _name(difference: Difference) -> str:
    assert difference.thing is not None
    parts = (part.name for part in difference.thing.parts)
    return " ".join((difference.thing.name, *parts))


SESSION = session("session1", OURS, lun("sdb", ONE))
SHARED = session("session1", OURS, lun("sdb", ONE), lun("sdc", TWO))


@pytest.mark.parametrize(
    ("things", "claims", "expected", "foreign"),
    [
        ((SESSION,), (), [], 1),
        ((SESSION,), (removed(OURS, ONE),), [("session_left", "session1 sdb", True)], 0),
        ((SESSION,), (removed(OURS, ONE), live(OURS, ONE)), [], 0),
        ((SESSION,), (live(OURS, ONE), removed(OURS, ONE)), [], 0),
        ((SESSION,), (removed(THEIRS),), [], 1),
        # A session of which we know the target alone: its device is somebody else's.
        ((SESSION,), (removed(OURS),), [], 0),
        (
            (session("session1", OURS),),
            (removed(OURS, ONE),),
            [("session_left", "session1", True)],
            0,
        ),
        ((SHARED,), (removed(OURS, ONE),), [("device_left", "session1 sdb", True)], 0),
        (
            (SHARED,),
            (removed(OURS, ONE), live(OURS, TWO)),
            [("device_left", "session1 sdb", True)],
            0,
        ),
        (
            (SHARED,),
            (removed(OURS, ONE), removed(OURS, TWO)),
            [("session_left", "session1 sdb sdc", True)],
            0,
        ),
        ((mount("/a"),), (removed("mount:/a"),), [("mount_left", "/a", True)], 0),
        ((mount("/a"),), (removed("mount:/a"), live("mount:/a")), [], 0),
    ],
)
def test_what_a_removed_row_names_and_nothing_live_was_left(
    things: tuple[Leftover, ...],
    claims: tuple[Claim, ...],
    expected: list[tuple[str, str, bool]],
    foreign: int,
) -> None:
    found = residue(things, claims)
    assert (said(found), found.foreign) == (expected, foreign)


def test_the_newest_row_that_names_it_is_the_one_that_is_told() -> None:
    claims = (removed(OURS, ONE), removed(OURS, ONE, uuid=OTHER_DEVICE))
    (difference,) = residue((SESSION,), claims).differences
    assert difference.device == row(OTHER_DEVICE)


@pytest.mark.parametrize(
    ("device", "known", "ours"),
    [
        ("naa.600a", "3600a", True),
        ("naa.600a", None, True),
        (None, "3600a", True),
        ("naa.600b", "3600a", False),
    ],
)
def test_a_lun_that_is_another_volume_by_now_is_not_ours(
    device: str | None, known: str | None, *, ours: bool
) -> None:
    thing = session("session1", OURS, lun("sdb", ONE, wwid=device))
    assert bool(residue((thing,), (removed(OURS, ONE, wwid=known),)).differences) == ours


def test_the_wwid_alone_is_no_proof_for_a_session() -> None:
    thing = session("session1", THEIRS, lun("sdb", f"{THEIRS}/1", wwid="naa.600a"))
    found = residue((thing,), (removed(OURS, ONE, wwid="3600a"),))
    assert (found.differences, found.foreign) == ((), 1)


def test_a_live_row_keeps_what_has_its_wwid_wherever_it_is() -> None:
    thing = session("session1", OURS, lun("sdb", ONE, wwid="naa.600a"))
    claims = (removed(OURS, ONE), live(THEIRS, wwid="3600a"))
    assert residue((thing,), claims).differences == ()


@pytest.mark.parametrize(
    ("thing", "claims", "expected"),
    [
        (a_map("dm-0"), (removed(wwid="3600"),), [("map_left", "dm-0", True)]),
        (a_map("dm-0"), (removed(OURS, ONE),), []),
        (a_map("dm-0", lun("sdb", ONE)), (removed(OURS, ONE),), [("map_left", "dm-0 sdb", True)]),
        (a_map("dm-0", lun("sdb", ONE), lun("sdc", TWO)), (removed(OURS, ONE),), []),
        (a_map("dm-0", lun("sdb", ONE)), (removed(OURS, ONE), live(wwid="3600")), []),
        (a_map("dm-0", lun("sdb", ONE)), (removed(OURS, ONE), live(ONE)), []),
        (
            a_map("dm-0", used="dm-1 over it"),
            (removed(wwid="3600"),),
            [("map_left", "dm-0", False)],
        ),
    ],
)
def test_a_map_is_ours_by_its_wwid_or_by_all_its_paths(
    thing: Leftover, claims: tuple[Claim, ...], expected: list[tuple[str, str, bool]]
) -> None:
    assert said(residue((thing,), claims)) == expected


def test_a_session_waits_for_the_map_over_it() -> None:
    over = a_map("dm-0", lun("sdb", ONE))
    under = session("session1", OURS, lun("sdb", ONE, held=("dm-0",)))
    found = residue((under, over), (removed(OURS, ONE),))
    assert [(each.kind.value, each.mend.waits) for each in found.differences] == [
        ("session_left", True),
        ("map_left", False),
    ]


def test_what_something_of_others_is_made_over_is_left_alone() -> None:
    under = session("session1", OURS, lun("sdb", ONE, held=("dm-3",)))
    (difference,) = residue((under,), (removed(OURS, ONE),)).differences
    assert difference.mend.why_not == "it is in use: dm-3 is over it"


def controller(*namespaces: str) -> Leftover:
    return Leftover(
        kind=LeftoverKind.CONTROLLER,
        name="nvme1",
        about=OURS,
        marks=frozenset({OURS}),
        parts=tuple(lun(f"nvme1n{number}", mark) for number, mark in enumerate(namespaces, 1)),
    )


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (controller(ONE), [("controller_left", "nvme1 nvme1n1", True)]),
        (controller(), [("controller_left", "nvme1", True)]),
        (controller(ONE, TWO), []),
    ],
)
def test_a_controller_goes_when_nobody_has_another_namespace_of_it(
    thing: Leftover, expected: list[tuple[str, str, bool]]
) -> None:
    assert said(residue((thing,), (removed(OURS, ONE),))) == expected


def test_two_writings_of_a_wwid_are_one() -> None:
    assert bare_wwid("t10.ATA x") == "1ATA x"
    assert bare_wwid("3600a") == bare_wwid("naa.600a") == "3600a"
    assert same_wwid("eui.00", "200")
    assert same_wwid(None, "3600a") is None
