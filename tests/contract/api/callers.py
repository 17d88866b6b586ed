"""Who may ask the rig, beside its administrator."""

from dataclasses import replace

from tests.api_rig import ApiRig
from worker.api.application import Application, Front
from worker.api.asked import Who
from worker.api.front.open_door import PROJECT
from worker.api.routes import ROUTES
from worker.model.ids import new_uuid

MEMBER = Who(user_id="m", project_id=PROJECT, roles=frozenset({"member", "reader"}))
READER = Who(user_id="r", project_id=PROJECT, roles=frozenset({"reader"}))
STRANGER = Who(user_id="s", project_id=new_uuid(), roles=frozenset({"member", "reader"}))


class As:
    """A door that takes everybody for the same caller."""

    def __init__(self, who: Who) -> None:
        self._who = who

    def identify(self, _environ: object) -> Who:
        return self._who


def asking_as(api: ApiRig, who: Who) -> ApiRig:
    """Return the same rig, asked by that caller."""
    return replace(api, application=Application(ROUTES, api.services, Front(door=As(who))))
