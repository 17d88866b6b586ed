"""``/healthcheck``, ``/workers`` and ``/metrics``."""

import threading
from dataclasses import replace
from functools import partial

import pytest

from tests.api_rig import ApiRig
from tests.contract.api.served import asking, member_of, served
from worker.api.application import Application
from worker.api.asked import UNASKED, Refused, Who
from worker.api.own.looks import Look, Looks
from worker.api.own.metrics import Metrics
from worker.api.routes import ROUTES
from worker.errors import BrokerUnavailable, DatabaseUnavailable
from worker.rpc.client import Client
from worker.wiring.api import make_front


class ShutDoor:
    """Lets nobody in."""

    def identify(self, _environ: object) -> Who:
        raise Refused(401, "who are you?")


def with_looks(api: ApiRig, **parts: object) -> ApiRig:
    """Return the API for strangers, with those looks in place of the real ones."""
    health = Looks(parts) if parts else api.services.health  # type: ignore[arg-type]
    front = replace(make_front(api.conf), door=ShutDoor())
    services = replace(api.services, health=health)
    return replace(api, services=services, application=Application(ROUTES, services, front))


def well() -> dict[str, int]:
    return {"workers": 1}


def fail(error: Exception) -> dict[str, int]:
    raise error


class TestHealthcheck:
    def test_whoever_asks_is_told_that_all_is_well(self, api: ApiRig) -> None:
        answer = with_looks(api).ask("GET", "/healthcheck")
        assert answer.status == 200
        assert answer.body == {"status": "ok", "workers": 1, "reasons": []}

    def test_in_detail_but_without_names(self, api: ApiRig) -> None:
        answer = with_looks(api).ask("GET", "/healthcheck", query="detailed")
        assert set(answer.body["parts"]) == {"database", "broker"}
        assert answer.body["parts"]["database"]["milliseconds"] >= 0
        assert answer.body["streams"] == {"open": 0, "most": api.conf.api.streams}
        assert api.host not in str(answer.body)

    @pytest.mark.parametrize(
        ("away", "error"),
        [
            ("database", DatabaseUnavailable("postgresql://bw:hunter2@db does not answer")),
            ("broker", BrokerUnavailable("amqp://bw:hunter2@mq does not answer")),
        ],
    )
    def test_a_part_that_is_away_is_named_and_no_secret_with_it(
        self, api: ApiRig, away: str, error: Exception
    ) -> None:
        parts = {"database": well, "broker": well} | {away: partial(fail, error)}
        answer = with_looks(api, **parts).ask("GET", "/healthcheck", query="detailed")
        assert (answer.status, answer.body["status"]) == (503, "unavailable")
        assert answer.body["reasons"] == [f"{away} does not answer"]
        assert "hunter2" not in str(answer.body)

    def test_no_worker_is_said_and_no_fault_of_this_api(self, api: ApiRig) -> None:
        answer = with_looks(api, database=lambda: {"workers": 0}).ask("GET", "/healthcheck")
        assert (answer.status, answer.body["workers"]) == (200, 0)
        assert "no worker is seen" in answer.body["reasons"][0]

    def test_a_part_that_hangs_counts_as_away_and_is_asked_once(self) -> None:
        hanging, asked = threading.Event(), []

        def hang() -> dict[str, int]:
            asked.append(1)
            hanging.wait(60)
            return {}

        look = Look("slow", hang, patience=0.05)
        assert [look.seen().ok for _ in range(3)] == [False] * 3
        assert len(asked) == 1
        hanging.set()

    def test_a_broker_that_is_not_there_is_seen(self) -> None:
        nowhere = Client("rabbit://guest:guest@127.0.0.1:1/", reach=0.2)
        with nowhere, pytest.raises(BrokerUnavailable) as error:
            nowhere.reach_broker()
        assert "guest" not in str(error.value)


class TestWorkers:
    def test_an_admin_sees_their_names_and_nobody_else(self, api: ApiRig) -> None:
        (worker,) = api.ask("GET", "/workers").body["workers"]
        assert worker["host"] == api.host
        assert asking(api, member_of("x")).ask("GET", "/workers").status == 403


class TestMetrics:
    def test_requests_by_route_and_status_and_how_long_they_took(self, api: ApiRig) -> None:
        server = api.server()
        api.ask("GET", f"/v2.1/servers/{server}/os-volume_attachments")
        text = asking(api, replace(UNASKED, roles=frozenset({"admin"})))
        with served(text) as site:
            status, told = site.get("/metrics")
        path = "/v2.1/servers/{server_id}/os-volume_attachments"
        assert status == 200
        assert (
            f'blockworker_api_requests_total{{method="GET",path="{path}",status="200"}} 1.0' in told
        )
        assert f'blockworker_api_request_seconds_count{{method="GET",path="{path}"}} 1.0' in told
        assert "blockworker_api_workers 1.0" in told
        assert server not in told

    def test_open_streams_are_counted(self, api: ApiRig) -> None:
        with served(api) as site, site.listen("/updates"):
            figures = Metrics("1", lambda: site.streams.open_streams)
            assert b"blockworker_api_streams 1.0" in figures.text(1)

    def test_admins_alone_unless_the_operator_says_otherwise(self, api: ApiRig) -> None:
        assert asking(api, member_of("x")).ask("GET", "/metrics").status == 403
