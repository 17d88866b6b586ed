"""Who is an administrator the operator's policy says, to rules and code alike."""

from dataclasses import replace

import pytest

from tests.api_rig import ApiRig
from tests.contract.api.callers import As
from tests.contract.api.test_volumes import V3, VOLUMES
from worker.api.application import ADMINISTRATOR, Application, Front
from worker.api.asked import Who
from worker.api.routes import ROUTES
from worker.model.ids import new_uuid


class Chiefs:
    """A policy in which who has the role is one."""

    def check(self, *_: object) -> None:
        return

    def allows(self, rule: str, who: Who, _target: object) -> bool:
        return rule != ADMINISTRATOR or "chief" in who.roles


@pytest.mark.parametrize(("role", "status"), [("admin", 404), ("chief", 200)])
def test_who_sees_all_is_whom_the_policy_names(api: ApiRig, role: str, status: int) -> None:
    server, volume = api.server(), api.volume()
    body = {"volumeAttachment": {"volumeId": volume}}
    begun = api.ask("POST", f"/v2.1/servers/{server}/os-volume_attachments", body)
    operation = api.end_of(begun)["operation_id"]
    who = Who(user_id="u", project_id=new_uuid(), roles=frozenset({role, "reader"}))
    services = replace(api.services, policy=Chiefs())
    asking = replace(api, application=Application(ROUTES, services, Front(door=As(who))))
    assert asking.ask("GET", f"/v2.1/servers/{server}").status == status
    assert asking.ask("GET", f"{VOLUMES}/{volume}", headers=V3).status == status
    assert asking.ask("GET", f"/operations/{operation}").status == status
    listed = asking.ask("GET", "/operations").body["operations"]
    assert (operation in {each["operation_id"] for each in listed}) is (status == 200)
