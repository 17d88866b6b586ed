"""Volumes of the pool that are made larger while a server has them."""

from dataclasses import replace
from typing import Any

from sqlalchemy import update

from tests.api_rig import ApiRig, Response
from tests.contract.api.test_attachments import attachments
from tests.contract.api.test_volumes import V3, VOLUMES, shown, with_services, worker_stands_still
from worker.model.block_device import DeviceStatus
from worker.model.ids import InstanceId, VolumeId
from worker.model.volume import GIB
from worker.persistence.schema import BLOCK_DEVICES


def attached(api: ApiRig, **wanted: object) -> tuple[str, str]:
    """Return a server and the volume that it has."""
    server, volume = api.server(), str(api.volume(**wanted))
    body = {"volumeAttachment": {"volumeId": volume}}
    assert api.end_of(api.ask("POST", attachments(server), body))["state"] == "succeeded"
    return server, volume


def extend(api: ApiRig, volume: str, size: int = 3) -> Response:
    action = {"os-extend": {"new_size": size}}
    return api.ask("POST", f"{VOLUMES}/{volume}/action", action, headers=V3)


class TestAnAttachedVolumeMadeLarger:
    def test_is_seen_by_its_guest(self, api: ApiRig) -> None:
        server, volume = attached(api)
        answer = extend(api, volume)
        assert answer.status == 202
        ended = api.end_of(answer)
        assert (ended["method"], ended["state"]) == ("extend_volume", "succeeded")
        found = shown(api, volume)
        assert (found["size"], found["status"]) == (3, "in-use")
        assert list(api.world.guests[InstanceId(server)].sizes.values()) == [3 * GIB]

    def test_is_extending_meanwhile_and_grows_once(self, api: ApiRig) -> None:
        _, volume = attached(api)
        with worker_stands_still(api):
            answer = extend(api, volume)
            assert (shown(api, volume)["status"], shown(api, volume)["size"]) == ("extending", 1)
            again = extend(api, volume, 4)
            assert again.status == 400
            assert "extending" in again.message
        assert api.end_of(answer)["state"] == "succeeded"
        assert shown(api, volume)["status"] == "in-use"

    def test_is_refused_while_two_servers_have_it(self, api: ApiRig) -> None:
        _, volume = attached(api, multiattach=True)
        second = api.server()
        body = {"volumeAttachment": {"volumeId": volume}}
        asked = api.ask("POST", attachments(second), body, version="2.60")
        assert api.end_of(asked)["state"] == "succeeded"
        refused = extend(api, volume)
        assert refused.status == 400
        assert "2 servers have it" in refused.message

    def test_is_refused_where_its_file_is_on_another_host(self, api: ApiRig) -> None:
        _, volume = attached(api)
        pool = Elsewhere(api.services.pool)
        refused = extend(with_services(api, pool=pool), volume)
        assert refused.status == 400
        assert "its server is elsewhere" in refused.message

    def test_is_refused_while_it_is_being_taken_away(self, api: ApiRig) -> None:
        _, volume = attached(api)
        leaving = update(BLOCK_DEVICES).where(BLOCK_DEVICES.c.volume_id == volume)
        values = {"status": DeviceStatus.DETACHING.value}
        api.database.write(lambda each: each.execute(leaving.values(values)))
        refused = extend(api, volume)
        assert refused.status == 400
        assert "is detaching" in refused.message


class Elsewhere:
    """A pool of which each file is on another host than its guest."""

    def __init__(self, pool: Any) -> None:  # noqa: ANN401
        self._pool = pool

    def find(self, volume: VolumeId) -> Any:  # noqa: ANN401
        return replace(self._pool.find(volume), host="elsewhere")

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._pool, name)
