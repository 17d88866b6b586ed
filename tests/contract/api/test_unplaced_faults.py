"""What users read of a failure, wherever it is told: no path of a host; operators read all."""

import json
import logging
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from falcon.testing import simulate_request
from sqlalchemy import Connection, Executable, update

from tests.api_rig import ApiRig, Json
from tests.contract.api.callers import MEMBER, asking_as
from tests.contract.api.test_attachments import attachments
from tests.fakes.volume_service import FakeVolumes
from tests.fakes.world import World
from worker.api.application import ADMINISTRATOR
from worker.api.asked import Who
from worker.errors import HypervisorRefused, ImageNotFound, ImagesUnavailable
from worker.model.ids import VolumeId, new_uuid
from worker.model.volume import Volume
from worker.persistence.schema import INSTANCES, OPERATIONS, STEPS, UPDATES
from worker.rpc.client import Client

SECRET = "/var/lib/blockworker"
WORDS = f"Could not open '{SECRET}/local/a b': Permission denied"
FIT = "Could not open (a path of the host): Permission denied"


ADMIN = replace(MEMBER, roles=frozenset({"admin", "member", "reader"}))


def executed(statement: Executable, connection: Connection) -> None:
    connection.execute(statement)


class Failed:
    """A server in error, whose operation has failed with words that name a file."""

    def __init__(self, api: ApiRig) -> None:
        self.server, volume = api.server(), api.volume()
        body = {"volumeAttachment": {"volumeId": volume}}
        begun = api.ask("POST", attachments(self.server), body)
        self.request = begun.headers["X-Openstack-Request-Id"]
        self.operation = begun.headers["X-Blockworker-Operation"]
        assert api.end_of(begun)["state"] == "succeeded"
        fault = {"fault_code": "hypervisor.refused", "fault_message": WORDS}
        failed = update(OPERATIONS).where(OPERATIONS.c.id == self.operation)
        steps = update(STEPS).where(STEPS.c.operation_id == self.operation)
        instance = update(INSTANCES).where(INSTANCES.c.uuid == self.server)
        api.database.write(lambda each: each.execute(failed.values(state="failed", **fault)))
        api.database.write(lambda each: each.execute(steps.values(outcome="failed", **fault)))
        api.database.write(lambda each: each.execute(instance.values(vm_state="error")))
        of_it = UPDATES.c.instance_uuid == self.server
        rows = api.database.read(lambda each: each.execute(UPDATES.select().where(of_it)).all())
        for row in rows:
            told = row.payload | {"fault": {"code": "c", "message": WORDS}}
            changed = update(UPDATES).where(UPDATES.c.id == row.id).values(payload=told)
            api.database.write(partial(executed, changed))


@pytest.fixture(scope="module")
def failed(api: ApiRig) -> Failed:
    return Failed(api)


def both(api: ApiRig, path: str) -> tuple[str, str]:
    """Return what an administrator reads there, and what the server's owner does."""
    texts = []
    for who in (ADMIN, MEMBER):
        answer = asking_as(api, who).ask("GET", path)
        assert answer.status == 200, answer.body
        texts.append(json.dumps(answer.body))
    return texts[0], texts[1]


def check(texts: tuple[str, str]) -> None:
    administrators, users = texts
    assert SECRET in administrators
    assert SECRET not in users
    assert FIT in users
    assert FIT not in administrators


def test_the_fault_of_a_server(api: ApiRig, failed: Failed) -> None:
    check(both(api, f"/v2.1/servers/{failed.server}"))


@pytest.mark.parametrize("one", [True, False])
def test_the_fault_of_an_operation_and_its_steps(api: ApiRig, failed: Failed, *, one: bool) -> None:
    texts = both(api, f"/operations/{failed.operation}" if one else "/operations")
    check(texts)
    if one:
        users = json.loads(texts[1])["operation"]
        assert users["fault"]["message"] == FIT
        assert {step["fault"]["message"] for step in users["steps"]} == {FIT}


def test_the_details_of_an_action(api: ApiRig, failed: Failed) -> None:
    """An operator may let users read them; that does not give them paths."""

    class Generous:
        def check(self, *_: object) -> None:
            return

        def allows(self, rule: str, who: Who, _: object) -> bool:
            return rule != ADMINISTRATOR or who == ADMIN

    generous = replace(api, services=replace(api.services, policy=Generous()))
    check(both(generous, f"/v2.1/servers/{failed.server}/os-instance-actions/{failed.request}"))


def test_the_updates_of_an_operation_and_its_end(api: ApiRig, failed: Failed) -> None:
    path = f"/operations/{failed.operation}/updates"
    texts = [
        simulate_request(asking_as(api, who).application, "GET", path).text
        for who in (ADMIN, MEMBER)
    ]
    assert "event: operation.ended" in texts[1]
    assert texts[1].count(FIT) > 2
    check((texts[0], texts[1]))


def test_the_answer_to_a_cancelling(api: ApiRig, failed: Failed) -> None:
    class Answering(Client):
        """Answers as a worker does whose operation has failed meanwhile."""

        def call(self, host: str, method: str, **_: Any) -> Any:  # noqa: ANN401
            fault = {"code": "c", "message": WORDS}
            return {"id": failed.operation, "arguments": {}, "fault": fault, "steps": []}

    services = replace(api.services, workers=object.__new__(Answering))
    path = f"/operations/{failed.operation}/cancel"
    texts = [
        json.dumps(asking_as(replace(api, services=services), who).ask("POST", path).body)
        for who in (ADMIN, MEMBER)
    ]
    check((texts[0], texts[1]))


class Refusing(FakeVolumes):
    """A volume service that fails as it is told to."""

    def __init__(self, error: Exception, world: World) -> None:
        super().__init__(world)
        self._error = error

    def show(self, volume: VolumeId) -> Volume:
        raise self._error


def test_a_refusal_is_told_whole_in_the_log(api: ApiRig, caplog: pytest.LogCaptureFixture) -> None:
    """And to administrators, whether the API refuses or a worker did."""
    caplog.set_level(logging.INFO)
    for error in (HypervisorRefused(WORDS), ImagesUnavailable(WORDS)):
        services = replace(api.services, volumes=Refusing(error, api.world))
        body = {"volumeAttachment": {"volumeId": new_uuid()}}
        refusing = replace(api, services=services)
        path = attachments(api.server())
        caplog.clear()
        users = asking_as(refusing, MEMBER).ask("POST", path, body)
        assert users.message == FIT
        assert f"why={WORDS}" in caplog.text
        assert asking_as(refusing, ADMIN).ask("POST", path, body).message == WORDS


def test_why_a_server_cannot_be_rescued(api: ApiRig) -> None:
    class Planning(Client):
        """A worker in whose folder of images something is missing."""

        def plan_rescue(self, host: str, **_: Any) -> Any:  # noqa: ANN401
            raise ImageNotFound(WORDS)

    services = replace(api.services, workers=object.__new__(Planning))
    path = f"/v2.1/servers/{api.server()}/action"
    body: Json = {"rescue": {}}
    told = {}
    for who in (ADMIN, MEMBER):
        answer = asking_as(replace(api, services=services), who).ask("POST", path, body)
        assert answer.status == 400
        told[who] = answer.message
    assert (WORDS in told[ADMIN], FIT in told[MEMBER], SECRET in told[MEMBER]) == (
        True,
        True,
        False,
    )
