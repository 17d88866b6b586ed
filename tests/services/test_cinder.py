"""A real Cinder: what it says of volumes and attachments while the worker has them in hand.

Its API, scheduler and NFS driver are Cinder's own, and its middleware's question who somebody is
goes to a small Keystone of the tests, which knows of service accounts (tests/cinder/identity.py).
"""

from collections.abc import Iterator

import pytest
from keystoneauth1.exceptions import Conflict
from keystoneauth1.service_token import ServiceTokenAuthWrapper
from keystoneauth1.session import Session

from tests.cinder.backends import NFS, add_nfs
from tests.cinder.caller import Caller
from tests.cinder.service import Cinder, running
from tests.cinder.share import Share, nfs_share
from worker.model.ids import new_uuid

pytestmark = pytest.mark.timeout(240)

CONNECTOR = {"host": "host-1", "ip": "127.0.0.1", "initiator": "iqn.2026-11.org.example.test:h"}


@pytest.fixture(scope="module")
def share() -> Iterator[Share]:
    with nfs_share() as found:
        yield found


@pytest.fixture(scope="module")
def cinder(share: Share) -> Iterator[Cinder]:
    with running() as found:
        add_nfs(found, share)
        yield found


def test_only_a_service_lets_go_of_what_a_server_of_nova_uses(cinder: Cinder) -> None:
    """CVE-2023-2088: who has no service token would take a volume away under a guest."""
    alice, plain = cinder.caller("alice"), cinder.caller("worker")
    volume, server = alice.create_volume(kind=NFS), new_uuid()
    asked = {"volume_uuid": volume, "instance_uuid": server, "connector": CONNECTOR}
    attachment = plain.post("/attachments", {"attachment": asked})["attachment"]["id"]
    plain.post(f"/attachments/{attachment}/action", {"os-complete": None})
    cinder.identity.servers[server, volume] = attachment
    assert alice.status(volume) == "in-use"

    for who in (alice, plain):
        with pytest.raises(Conflict):
            who.ask("DELETE", f"/attachments/{attachment}")
    assert (alice.status(volume), len(plain.attachments(volume))) == ("in-use", 1)

    as_service(cinder).ask("DELETE", f"/attachments/{attachment}")
    assert (alice.status(volume), plain.attachments(volume)) == ("available", [])


def as_service(cinder: Cinder) -> Caller:
    login = cinder.identity.login("worker")
    auth = ServiceTokenAuthWrapper(user_auth=login, service_auth=login)
    return Caller(session=Session(auth=auth), url=cinder.caller("worker").url)
