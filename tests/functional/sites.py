"""A worker with images and its API in this process, and what Nova's clients make and see there."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients import Cloud
from tests.functional.builders import Builder, beginnings
from tests.functional.rescues import Patient
from tests.rig import SOON
from worker import conf as options
from worker.api.front.token_file import TokenFile
from worker.model.ids import InstanceId
from worker.wiring.api import Api

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One host's worker, and its APIs: one that asks for a token and one that does not.

    ``compute`` is the SDK's, for what is asked often: a command costs a second.
    """

    builder: Builder
    images: Path
    closed: Cloud
    open: Cloud
    compute: Any

    def status(self, server: str) -> str:
        return str(self.compute.get_server(server).status)

    def volumes(self, server: str) -> list[str]:
        return [each.volume_id for each in self.compute.volume_attachments(server)]

    def guest(self, server: str) -> Patient:
        """Return a server as its host sees it."""
        return Patient(
            uuid=InstanceId(server),
            folder=self.builder.instances / server,
            connection=self.builder.connection,
            call=self.builder.rig.call,
            run=self.builder.rig.run,
        )

    def serials(self, server: str, medium: str, count: int) -> dict[str, str]:
        """Wait until the guest, booted from that, sees so many disks; return their serials."""
        return beginnings(self.guest(server).report(medium, count).disks)


@contextmanager
def api_of(builder: Builder, images: Path, folder: Path, **api: Any) -> Iterator[Api]:  # noqa: ANN401
    """Serve the API over that worker and its database."""
    served = Api(
        options.load(
            state_path=str(folder / builder.rig.host),
            host=builder.rig.host,
            transport_url="kombu+memory://localhost/",
            image__folder=str(images),
            api__listen="127.0.0.1:0",
            **{f"api__{name}": value for name, value in api.items()},
        ),
        beside_worker=True,
    )
    with ExitStack() as stack:
        served.start()
        stack.callback(served.stop)
        yield served


def token_of(builder: Builder, folder: Path) -> str:
    """Return the administrator's token, that the API has made."""
    (first,) = TokenFile(folder / builder.rig.host / "api-tokens").lines()
    assert first.token is not None
    return first.token


def until(look: Callable[[], Any], wanted: object) -> None:
    """Look until that is seen."""
    deadline = time.monotonic() + SOON
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, f"{seen} is not {wanted}"
        time.sleep(0.2)
