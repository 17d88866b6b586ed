"""``python -m tests.chaos``: every point of the crash matrix, or a shard of it."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests import guests
from tests.chaos.points import Outcome, Point, points_of, prove
from tests.chaos.scenes import SCENES, missing
from tests.chaos.stage import Stage, stage


def main() -> None:
    """Prove the points; exit 1 if one failed, or an operation has no scene."""
    arguments = _parsed()
    # As after an interrupt: libvirtd, guests and worker go with the one who started them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lacking = missing()
    if lacking:
        sys.exit(f"no scene for {', '.join(sorted(lacking))}: see tests/chaos/scenes.py")
    with tempfile.TemporaryDirectory(prefix="bw-chaos-") as name, guests.private_libvirtd() as uri:
        folder, image = Path(name), guests.cached_guest_image()
        with (
            guests.guest_maker(uri, image, folder) as make_guest,
            stage(uri, folder, make_guest) as found,
        ):
            outcomes = _prove_all(found, _chosen(found, arguments))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([_plain(each) for each in outcomes], indent=2))
    sys.exit(_summary(outcomes))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--shard", metavar="I/N", type=_shard, default=(1, 1), help="the i-th of n")
    parser.add_argument(
        "--operation",
        metavar="NAME",
        choices=sorted({scene.method for scene in SCENES}),
        help="the points of one operation only",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the outcomes there too")
    return parser.parse_args()


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not 1 <= int(number) <= int(of):
        raise ValueError
    return int(number), int(of)


def _chosen(found: Stage, arguments: argparse.Namespace) -> list[Point]:
    number, of = arguments.shard
    points = [
        point
        for scene in SCENES
        if arguments.operation in (None, scene.method)
        for point in points_of(found, scene)
    ]
    return points[number - 1 :: of]


def _prove_all(found: Stage, points: Sequence[Point]) -> list[Outcome]:
    outcomes = []
    for number, point in enumerate(points, 1):
        outcome = prove(found, point)
        outcomes.append(outcome)
        said = outcome.end if outcome.passed else f"{outcome.end}; FAILED"
        print(f"{number}/{len(points)} {point}: {said}, {outcome.seconds:.1f} s", flush=True)
        for difference in outcome.differences:
            print(f"    {difference}", flush=True)
    return outcomes


def _summary(outcomes: Sequence[Outcome]) -> int:
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        print(f"FAILED {outcome.point}: {'; '.join(outcome.differences)}")
    passed = len(outcomes) - len(failed)
    print(f"{len(outcomes)} points, {passed} passed, {len(failed)} failed")
    return 1 if failed else 0


def _plain(outcome: Outcome) -> dict[str, object]:
    point = outcome.point
    return {
        "scene": point.scene.name,
        "operation": point.scene.method,
        "number": point.number + 1,
        "call": point.call,
        "trouble": point.kind.value,
        "end": outcome.end,
        "seconds": round(outcome.seconds, 3),
        "differences": list(outcome.differences),
    }


main()
