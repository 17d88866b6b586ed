"""Asks a worker's health socket, as an operator's tools do."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Json = dict[str, Any]


def get(path: Path, page: str) -> tuple[int, bytes]:
    """Return status and body of a page."""
    with closing(http.client.HTTPConnection("localhost")) as asking:
        asking.sock = socket.socket(socket.AF_UNIX)
        asking.sock.settimeout(10.0)
        asking.sock.connect(str(path))
        asking.request("GET", page)
        answer = asking.getresponse()
        return answer.status, answer.read()


def health(state: Path) -> tuple[int, Json]:
    """Return the status and what /healthz says."""
    status, body = get(state / "health.sock", "/healthz")
    return status, json.loads(body)


def health_when(state: Path, holds: Callable[[Json], bool], seconds: float = 60.0) -> Json:
    """Wait until what /healthz says holds; return it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            _, found = health(state)
        except OSError as error:
            found = {"error": str(error)}
        else:
            if holds(found):
                return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def metrics(state: Path) -> dict[str, float]:
    """Return the samples by name and labels, as in ``name{label="value"}``."""
    _, body = get(state / "health.sock", "/metrics")
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found
