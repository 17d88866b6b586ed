"""``python -m tests.chaos``: every point of the crash matrix, or a shard of it."""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import guests
from tests.chaos.bus import Bus, InWorker, broker
from tests.chaos.pairs import SAMPLE, Pairs, second_run_points, way_back_points
from tests.chaos.points import Outcome, Point, points_of, prove
from tests.chaos.scenes import SCENES, Scene, missing
from tests.chaos.stage import Stage, stage


def main() -> None:
    """Prove the points; exit 1 if one failed, or an operation has no scene."""
    arguments = _parsed()
    # As after an interrupt: libvirtd, guests and worker go with the one who started them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lacking = missing()
    if lacking:
        sys.exit(f"no scene for {', '.join(sorted(lacking))}: see tests/chaos/scenes.py")
    outcomes: list[Outcome] = []
    begun = time.monotonic()
    try:
        with _played(arguments.bus) as found:
            _prove_all(found, _chosen(found, arguments), outcomes)
    finally:
        # Of a run that was cut off too: what it had proved, and that it was not all.
        if arguments.json is not None:
            arguments.json.write_text(json.dumps([_plain(each) for each in outcomes], indent=2))
        failed = _summary(outcomes, time.monotonic() - begun)
    sys.exit(1 if failed else 0)


@contextmanager
def _played(bus: str) -> Iterator[Stage]:
    with (
        tempfile.TemporaryDirectory(prefix="bw-chaos-") as name,
        guests.private_libvirtd() as uri,
        _bus(bus) as spoken,
        guests.guest_maker(uri, guests.cached_guest_image(), Path(name)) as make_guest,
        stage(uri, Path(name), make_guest, spoken) as found,
    ):
        yield found


@contextmanager
def _bus(name: str) -> Iterator[Bus]:
    if name == "memory":
        yield InWorker()
        return
    with broker() as found:
        yield found


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--shard", metavar="I/N", type=_shard, default=(1, 1), help="the i-th of n")
    parser.add_argument(
        "--operation",
        metavar="NAME",
        choices=sorted({scene.method for scene in SCENES}),
        help="the points of one operation only",
    )
    parser.add_argument(
        "--bus",
        choices=("rabbitmq", "memory"),
        default="rabbitmq",
        help="a private RabbitMQ, on which all updates are heard too, or the bus in the worker",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help=f"in the second run pair {Pairs()}; else {SAMPLE}",
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
    pairs = Pairs() if arguments.full else SAMPLE
    families: dict[str, Callable[[Scene], list[Point]]] = {
        "one trouble at each call": lambda scene: points_of(found, scene),
        "a kill on the way back": lambda scene: way_back_points(found, scene),
        f"an error after a kill, {pairs}": lambda scene: second_run_points(found, scene, pairs),
    }
    scenes = [scene for scene in SCENES if arguments.operation in (None, scene.method)]
    points = []
    for name, points_in in families.items():
        some = [point for scene in scenes for point in points_in(scene)]
        print(f"{name}: {len(some)} points", flush=True)
        points += some
    if not arguments.full:
        print(f"--full pairs {Pairs()} after a kill", flush=True)
    return points[number - 1 :: of]


def _prove_all(found: Stage, points: Sequence[Point], outcomes: list[Outcome]) -> None:
    try:
        for number, point in enumerate(points, 1):
            outcome = prove(found, point)
            outcomes.append(outcome)
            print(f"{number}/{len(points)} {_told(outcome)}", flush=True)
    finally:
        if len(outcomes) < len(points):
            print(f"cut off after {len(outcomes)} of {len(points)} points")


def _told(outcome: Outcome) -> str:
    said = outcome.end if outcome.passed else f"{outcome.end}; FAILED"
    first = f"{outcome.point}: {said}, {outcome.seconds:.1f} s"
    return "\n    ".join([first, *outcome.differences])


def _summary(outcomes: Sequence[Outcome], seconds: float) -> int:
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        print(f"FAILED {outcome.point}: {'; '.join(outcome.differences)}")
    ends = Counter(outcome.end for outcome in outcomes)
    print("; ".join(f"{count} {end}" for end, count in ends.most_common()))
    passed = len(outcomes) - len(failed)
    print(f"in {seconds / 60:.1f} min")
    print(f"{len(outcomes)} points, {passed} passed, {len(failed)} failed")
    return len(failed)


def _plain(outcome: Outcome) -> dict[str, object]:
    point = outcome.point
    return {
        "scene": point.scene.name,
        "operation": point.scene.method,
        "number": point.at.number,
        "call": point.call,
        "trouble": point.kind.value,
        "point": str(point),
        "end": outcome.end,
        "seconds": round(outcome.seconds, 3),
        "differences": list(outcome.differences),
    }


main()
