"""Kills worker and libvirtd as the plan says, and starts them again."""

import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos.soak.ground import Ground
from tests.chaos.soak.plan import Kill, Moment, Victim
from tests.chaos.stage import soon
from tests.chaos.trouble import Place, Plan

CALL_WITHIN = 4.0
STARTING = 0.3


@dataclass(kw_only=True)
class Killer:
    """Who kills; counts what it did."""

    ground: Ground
    kills: int = 0
    starts: int = 1

    def carry_out(self, kill: Kill) -> None:
        """Kill, and return when what was killed serves again."""
        if kill.victim is Victim.LIBVIRTD:
            time.sleep(kill.delay)
            self.ground.libvirtd.kill(kill.delay)
            return
        self._kill_worker(kill)
        if kill.moment is Moment.START:
            self._kill_while_it_starts(STARTING + kill.delay)
        self._start()

    def _kill_worker(self, kill: Kill) -> None:
        served, orders = self.ground.stage.served, self.ground.stage.orders
        process = served.process
        assert process is not None
        if kill.moment is Moment.CALL:
            at = Place(before=kill.number)
            orders.give(Plan(at=at, kind=kill.kind, seconds=kill.delay / 4))
            # Too few calls may be left until the end.
            soon(lambda: process.poll() is not None, CALL_WITHIN)
        else:
            time.sleep(kill.delay)
        served.kill()
        orders.withdraw()
        self.kills += 1
        assert process.returncode == -signal.SIGKILL, f"the worker ended by itself: {served.log()}"

    def _kill_while_it_starts(self, seconds: float) -> None:
        served = self.ground.stage.served
        death = threading.Timer(seconds, served.kill)
        death.start()
        with suppress(AssertionError):
            self._start()
        death.join()
        self.kills += 1

    def _start(self) -> None:
        self.starts += 1
        self.ground.stage.served.start()
