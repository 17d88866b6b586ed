"""One soak from its first operation to its last look."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import true

from tests.chaos import views
from tests.chaos.soak import ghost, leaks, plan, told
from tests.chaos.soak.driver import Driver, Sent
from tests.chaos.soak.ground import Ground, ground
from tests.chaos.soak.killer import Killer
from tests.chaos.soak.plan import Deed, Victim
from tests.chaos.stage import soon
from worker.persistence.schema import BLOCK_DEVICES, OPERATIONS, UPDATES

VOLUMES = 5
QUIET_WITHIN = 120.0
TOLD_EVERY = 5.0

Say = Callable[[str], None]

_SOCKETS = shutil.ignore_patterns("*.sock", "volumes")


@dataclass(kw_only=True)
class Soak:
    """What is drawn from ``seed``, who dies, and what came of it.

    If anything is found the worker's journal and log are copied to ``keep``, a new folder.
    """

    operations: int
    guests: int
    seed: int
    victims: tuple[Victim, ...]
    say: Say
    keep: Path | None = None
    findings: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Do all of it; ``findings`` and ``summary`` say how it was."""
        begun = time.monotonic()
        with ground(self.guests, VOLUMES) as found:
            kills = plan.kills(self.seed, self.operations, self.victims)
            killer = Killer(ground=found, kills=kills)
            drivers = [
                Driver(ground=found, number=number, find=self._note, held=lambda: killer.is_due)
                for number in range(self.guests)
            ]
            self._kill_along(killer, [each.start(self._deeds(each)) for each in drivers])
            self._look(found, drivers)
            self._wind_down(found)
            self.summary = _summary(found, drivers, killer)
            if self.findings and self.keep is not None:
                # Journal and log: without them a finding cannot be followed to its cause.
                shutil.copytree(found.stage.served.state, self.keep, ignore=_SOCKETS)
        self.summary["seconds"] = round(time.monotonic() - begun, 1)
        self.summary["findings"] = len(self.findings)

    def _deeds(self, driver: Driver) -> Sequence[Deed]:
        share = self.operations // self.guests + (driver.number < self.operations % self.guests)
        return list(plan.deeds(self.seed, driver.number, share, VOLUMES))

    def _kill_along(self, killer: Killer, threads: Sequence[threading.Thread]) -> None:
        haunted = self.operations // 2 if Victim.LIBVIRTD in self.victims else None
        said = 0.0
        while any(thread.is_alive() for thread in threads):
            ended = killer.ended
            if time.monotonic() - said > TOLD_EVERY:
                said = time.monotonic()
                killed = f"{killer.killed} + {killer.ground.libvirtd.kills} kills"
                self.say(f"{ended}/{self.operations} ended, {killed}")
            if haunted is not None and ended >= haunted:
                haunted = None
                self._find(ghost.planted(killer.ground))
            elif killer.is_due:
                killer.carry_out_next()
            else:
                time.sleep(0.05)
        if haunted is not None:
            self._find(ghost.planted(killer.ground))

    def _look(self, found: Ground, drivers: Sequence[Driver]) -> None:
        if not soon(lambda: _is_quiet(found), QUIET_WITHIN):
            self._note(f"it does not come to rest within {QUIET_WITHIN} s")
        sent: list[Sent] = [each for driver in drivers for each in driver.sent]
        dies = bool(found.libvirtd.kills or found.libvirtd.crashes)
        self._find(told.findings(found, sent, libvirtd_dies=dies))
        self._find(leaks.findings(found))

    def _wind_down(self, found: Ground) -> None:
        """Take away what is left: that this works is part of the proof."""
        live = views.select_all(found.stage, BLOCK_DEVICES, BLOCK_DEVICES.c.deleted == 0)
        for row in live:
            if row["status"] == "reserved":
                found.stage.served.client.call("release_block_device", bdm_uuid=row["uuid"])
            else:
                names = {"instance_uuid": row["instance_uuid"], "volume_id": row["volume_id"]}
                found.stage.run("detach_volume", **names, bdm_uuid=row["uuid"])
        self.say(f"{len(live)} rows taken away at the end")
        self._find(f"after all was taken away: {each}" for each in leaks.findings(found))

    def _find(self, found: Any) -> None:  # noqa: ANN401
        for each in found:
            self._note(each)

    def _note(self, finding: str) -> None:
        self.findings.append(finding)
        self.say(f"FOUND {finding}")


def _is_quiet(found: Ground) -> bool:
    unfinished = views.select_all(found.stage, OPERATIONS, OPERATIONS.c.ended_at.is_(None))
    return not unfinished and not views.select_all(
        found.stage, UPDATES, UPDATES.c.published_at.is_(None)
    )


def _summary(found: Ground, drivers: Sequence[Driver], killer: Killer) -> dict[str, Any]:
    sent = {each.id for driver in drivers for each in driver.sent}
    journal = views.select_all(found.stage, OPERATIONS, true())
    ends = Counter(
        f"{row['state']} {row['fault_code'] or ''}".strip() for row in journal if row["id"] in sent
    )
    heard = found.bus.heard()
    return {
        "operations": len(sent),
        "messages cast": sum(driver.casts for driver in drivers),
        "calls": sum(driver.calls for driver in drivers),
        "ends": dict(ends.most_common()),
        "deaths counted": sum(int(row["attempts"]) for row in journal),
        "own operations": sum(bool(row["own"]) for row in journal),
        "worker kills": killer.killed,
        "worker starts": killer.starts,
        "libvirtd kills": found.libvirtd.kills,
        "libvirtd crashed by itself": found.libvirtd.crashes,
        "ghosts told": len(ghost.told(found)),
        "updates heard": len(heard),
        "heard twice or more": len(heard) - len({update["message_id"] for update in heard}),
    }
