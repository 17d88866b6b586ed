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
    kills: list[Kill]
    killed: int = 0
    starts: int = 1

    @property
    def ended(self) -> int:
        """How many operations have ended, without the adoptions that came first."""
        return self.ground.ended() - len(self.ground.guests)

    @property
    def is_due(self) -> bool:
        """Whether a kill is due that has not begun.

        The callers wait while one is: on a fast machine all operations would else end in the time
        that one kill takes, and the rest of the plan would never be carried out.
        """
        return bool(self.kills) and self.ended >= self.kills[0].ended

    def carry_out_next(self) -> None:
        """Carry out the next kill, and return when what was killed serves again."""
        self._carry_out(self.kills.pop(0))

    def _carry_out(self, kill: Kill) -> None:
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
        self.killed += 1
        assert process.returncode == -signal.SIGKILL, f"the worker ended by itself: {served.log()}"

    def _kill_while_it_starts(self, seconds: float) -> None:
        served = self.ground.stage.served
        death = threading.Timer(seconds, served.kill)
        death.start()
        with suppress(AssertionError):
            self._start()
        death.join()
        self.killed += 1

    def _start(self) -> None:
        self.starts += 1
        self.ground.stage.served.start()
