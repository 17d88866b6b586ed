"""A clouds.yaml by which OpenStack's clients ask this API."""

import json
from collections.abc import Iterator
from typing import Any

from oslo_config import cfg

from worker.api.front.token_file import TokenLine, digest_of
from worker.errors import Invalid
from worker.wiring.api_front import api_url, token_file

NAME = "blockworker"

HEAD = "# By `blockworker api clouds`. If there is a token in it, nobody else is to read this file."

VERSIONS = {"compute_api_version": "2.101", "volume_api_version": "3", "image_api_version": "2"}


def clouds_yaml(conf: cfg.ConfigOpts, token: str | None = None) -> str:
    """Return the file's text; raises Invalid where there is no token, or it is not for us to say.

    ``token`` is one that the caller has; without it the first that the token file has itself.
    """
    match conf.api.auth:
        case "keystone":
            message = "callers of this API are Keystone's; get a clouds.yaml from whoever runs it"
            raise Invalid(message)
        case "none":
            cloud = _open(api_url(conf))
        case _:
            cloud = _by_token(api_url(conf), _line(conf, token), token)
    return "\n".join([HEAD, *_yaml(cloud), ""])


def _open(url: str) -> dict[str, Any]:
    return {
        "auth_type": "none",
        "auth": {"endpoint": f"{url}/v2.1"},
        "compute_endpoint_override": f"{url}/v2.1",
        "block_storage_endpoint_override": f"{url}/v3",
        "volume_endpoint_override": f"{url}/v3",
        "image_endpoint_override": f"{url}/v2",
        "identity_endpoint_override": f"{url}/identity/v3",
    }


def _by_token(url: str, line: TokenLine, token: str | None) -> dict[str, Any]:
    auth = {
        "auth_url": f"{url}/identity/v3",
        "token": token or line.token,
        "project_id": line.who.project_id,
    }
    return {"auth_type": "v3token", "auth": auth}


def _line(conf: cfg.ConfigOpts, token: str | None) -> TokenLine:
    file = token_file(conf)
    lines = file.lines()
    if token is not None:
        fitting = [line for line in lines if line.digest == digest_of(token)]
        message = f"that token is not in {file.path}; `blockworker api token add` makes one"
    else:
        fitting = [line for line in lines if line.token is not None]
        message = f"{file.path} has hashes alone; give the token that you have to --token-stdin"
    if not fitting:
        raise Invalid(message)
    return fitting[0]


def _yaml(cloud: dict[str, Any]) -> Iterator[str]:
    yield "clouds:"
    yield f"  {NAME}:"
    for name, value in (cloud | VERSIONS).items():
        if isinstance(value, dict):
            yield f"    {name}:"
            yield from (f"      {inner}: {json.dumps(word)}" for inner, word in value.items())
        else:
            yield f"    {name}: {json.dumps(value)}"
