"""Nova's clients, unchanged, on an API: they see a clouds.yaml, and nothing of the caller's own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from keystoneauth1 import session as sessions
from keystoneauth1.identity.v3 import Token
from keystoneauth1.token_endpoint import Token as Endpoint
from novaclient.client import Client as NovaClient
from openstack.config import OpenStackConfig
from openstack.connection import Connection

from worker.api.front.open_door import PROJECT

Json = dict[str, Any]

CLOUD = "blockworker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came over HTTP; ``version`` is the microversion that was asked for."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    version: str | None = None

    @property
    def line(self) -> str:
        """The request without its query."""
        return f"{self.method} {self.path}"


@dataclass(kw_only=True)
class Recording:
    """A WSGI application that keeps what it was asked, in its order."""

    application: Callable[..., Iterable[bytes]]
    heard: list[Request] = field(default_factory=list)

    def __call__(self, environ: Json, start: Any) -> Iterable[bytes]:  # noqa: ANN401
        asked = environ.get("HTTP_OPENSTACK_API_VERSION") or environ.get(
            "HTTP_X_OPENSTACK_NOVA_API_VERSION"
        )
        self.heard.append(
            Request(
                method=environ["REQUEST_METHOD"],
                path=environ["PATH_INFO"],
                query=tuple(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)),
                version=asked and asked.split()[-1],
            )
        )
        return self.application(environ, start)


class CommandFailed(AssertionError):
    """A client's command ended badly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """An API, and the clients that are pointed at it; without a token they need none."""

    url: str
    config: Path
    name: str
    commands: subprocess.Popen[str]
    token: str | None = None

    def openstack(self, *words: str, compute: str = "2.1") -> Any:  # noqa: ANN401
        """Run the `openstack` command; return what it says, read if it was to be JSON."""
        said = self.run("openstack", "--os-compute-api-version", compute, *words)
        return json.loads(said) if "json" in words else said

    def asked(self, *words: str, compute: str = "2.1") -> Any:  # noqa: ANN401
        """Run a command of `openstack` that prints; return what it prints as JSON."""
        return self.openstack(*words, "-f", "json", compute=compute)

    def nova(self, *words: str, compute: str = "2.1") -> str:
        """Run the `nova` command; return what it prints."""
        told = ("nova", "--os-compute-api-version", compute)
        return self.run(*told, *words, environment=self._of_nova())

    def _of_nova(self) -> dict[str, str]:
        who = {"OS_PROJECT_ID": PROJECT, "OS_AUTH_URL": f"{self.url}/identity/v3"}
        if self.token is not None:
            return who | {"OS_AUTH_TYPE": "v3token", "OS_TOKEN": self.token}
        # It insists on a name, whatever it is.
        open_ = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": f"{self.url}/v2.1", "OS_USERNAME": "any"}
        return who | open_

    def run(self, *words: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a command; return what it prints, and raise CommandFailed if it ends badly."""
        assert self.commands.stdin is not None
        assert self.commands.stdout is not None
        self.commands.stdin.write(json.dumps([words, environment or {}]) + "\n")
        self.commands.stdin.flush()
        ended = json.loads(self.commands.stdout.readline())
        if ended["status"]:
            raise CommandFailed(f"{' '.join(words)}: {ended['out']}{ended['err']}")
        return str(ended["out"])

    def sdk(self, compute: str | None = None) -> Any:  # noqa: ANN401 - types for each version
        """Return openstacksdk's connection; it negotiates, unless told a microversion."""
        known = OpenStackConfig(config_files=[str(self.config)], load_envvars=False)
        more: Json = {} if compute is None else {"compute_default_microversion": compute}
        return Connection(config=known.get_one(self.name, **more))

    def novaclient(self, compute: str) -> Any:  # noqa: ANN401 - a class for each version
        """Return python-novaclient's client."""
        auth = (
            Endpoint(f"{self.url}/v2.1", "none")
            if self.token is None
            else Token(f"{self.url}/identity/v3", self.token, project_id=PROJECT)
        )
        return NovaClient(compute, session=sessions.Session(auth=auth))


@contextmanager
def cloud(
    url: str, folder: Path, token: str | None = None, config: Path | None = None
) -> Iterator[Cloud]:
    """The clients of an API, for as long as the block lasts.

    They read ``config``, as `blockworker api clouds` prints it, or one that is written here.
    """
    folder.mkdir(exist_ok=True)
    read = folder / "clouds.yaml" if config is None else config
    if config is None:
        read.write_text(json.dumps({"clouds": {CLOUD: _settings(url, token)}}))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.client_commands"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "OS_CLIENT_CONFIG_FILE": str(read),
            "OS_CLOUD": CLOUD,
            "PYTHONWARNINGS": "ignore",
        },
    )
    try:
        yield Cloud(url=url, config=read, name=CLOUD, token=token, commands=process)
    finally:
        process.communicate()


def _settings(url: str, token: str | None) -> Json:
    if token is not None:
        auth = {"auth_url": f"{url}/identity/v3", "token": token, "project_id": PROJECT}
        return {"auth_type": "v3token", "auth": auth}
    return {
        "auth_type": "none",
        "auth": {"endpoint": f"{url}/v2.1"},
        "compute_endpoint_override": f"{url}/v2.1",
        "block_storage_endpoint_override": f"{url}/v3",
        "image_endpoint_override": f"{url}/v2",
        "identity_endpoint_override": f"{url}/identity/v3",
    }
