"""Whose a volume is that is to take another one's place."""

from dataclasses import replace

from tests.api_rig import ApiRig, Json
from tests.contract.api.callers import STRANGER, As
from tests.contract.api.test_attachments import attachments
from tests.contract.api.test_volumes import with_services
from worker.api.application import ADMINISTRATOR, Application, Front
from worker.api.routes import ROUTES
from worker.model.ids import new_uuid


class Generous:
    """A policy that lets everybody do everything, and makes nobody an administrator."""

    def check(self, *_: object) -> None:
        return

    def allows(self, rule: str, *_: object) -> bool:
        return rule != ADMINISTRATOR


def test_no_volume_of_another_project_is_swapped_in(api: ApiRig) -> None:
    """An operator may let owners of servers swap; that does not give them others' volumes."""
    server, volume = api.server(), api.volume()
    body = {"volumeAttachment": {"volumeId": volume}}
    assert api.end_of(api.ask("POST", attachments(server), body))["state"] == "succeeded"
    owner = with_services(api, policy=Generous())
    foreign, nowhere = api.volume(project_id=STRANGER.project_id), new_uuid()
    for other in (foreign, nowhere):
        wanted: Json = {"volumeAttachment": {"volumeId": other}}
        answer = owner.ask("PUT", attachments(server, volume), wanted, version="2.84")
        assert answer.status == 400
        assert answer.message == f"Volume {other} could not be found."
    body = {"volumeAttachment": {"volumeId": api.volume()}}
    assert owner.ask("PUT", attachments(server, volume), body, version="2.84").status == 202


def test_a_rule_for_all_lets_nobody_swap_in_another_projects_server(api: ApiRig) -> None:
    server, volume = api.server(), api.volume()
    body = {"volumeAttachment": {"volumeId": volume}}
    assert api.end_of(api.ask("POST", attachments(server), body))["state"] == "succeeded"
    services = replace(api.services, policy=Generous())
    stranger = replace(api, application=Application(ROUTES, services, Front(door=As(STRANGER))))
    theirs: Json = {"volumeAttachment": {"volumeId": api.volume(project_id=STRANGER.project_id)}}
    answer = stranger.ask("PUT", attachments(server, volume), theirs, version="2.84")
    assert (answer.status, server in answer.message) == (404, True)
