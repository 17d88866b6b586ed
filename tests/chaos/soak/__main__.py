"""``python -m tests.chaos.soak``: operations, kills all along, and a look at everything."""

import argparse
import json
import random
import signal
import sys
import time
from pathlib import Path

from tests.chaos.soak.plan import Victim
from tests.chaos.soak.run import Soak

VICTIMS = {
    "worker": (Victim.WORKER,),
    "libvirtd": (Victim.LIBVIRTD,),
    "both": (Victim.WORKER, Victim.LIBVIRTD),
}


def main() -> None:
    """Run it; exit 1 if anything was found."""
    arguments = _parsed()
    # As after an interrupt: what was started goes with the one who started it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.monotonic()
    soak = Soak(
        operations=arguments.operations,
        guests=arguments.guests,
        seed=arguments.seed,
        victims=VICTIMS[arguments.kill],
        keep=arguments.keep,
        say=lambda text: print(f"{time.monotonic() - begun:7.1f} s  {text}", flush=True),
    )
    soak.say(f"seed {soak.seed}: {soak.operations} operations on {soak.guests} guests")
    soak.run()
    for name, value in soak.summary.items():
        print(f"{name}: {value}")
    for finding in soak.findings:
        print(f"FOUND {finding}")
    if arguments.json is not None:
        found = {"seed": soak.seed, **soak.summary, "found": soak.findings}
        arguments.json.write_text(json.dumps(found, indent=2))
    sys.exit(1 if soak.findings else 0)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.chaos.soak", description=__doc__)
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--guests", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kill", choices=sorted(VICTIMS), default="worker", help="who is killed")
    parser.add_argument(
        "--keep", metavar="DIR", type=Path, help="copy journal and log there if anything is found"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write summary and findings too")
    return parser.parse_args()


main()
