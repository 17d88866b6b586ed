"""What the documents say of the bus is so."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tests.bus_worker import BusWorker, fresh_name
from tests.unit.scenes import INSTANCE, VOLUME
from worker.model.update import Event
from worker.rpc.bus import BusSettings
from worker.rpc.methods import CALLS, OPERATIONS

DOCS = Path(__file__).parents[2] / "docs"
URL = "kombu+memory://"
TABLE = {
    **{name: call.request for name, call in CALLS.items()},
    **{name: kind.request for name, kind in OPERATIONS.items() if not kind.own_only},
}


@pytest.mark.parametrize("method", sorted(TABLE))
def test_each_method_is_described_with_its_arguments(method: str) -> None:
    (row,) = re.findall(rf"^\| `{method}` \|(.*)", (DOCS / "bus.md").read_text(), re.MULTILINE)
    arguments = re.findall(r"`(\w+)(?: = [^`]*)?`", row.split("|")[0])
    assert arguments == [field.name for field in fields(TABLE[method])]


@pytest.mark.parametrize("event", list(Event))
def test_each_event_is_described(event: Event) -> None:
    text = (DOCS / "bus.md").read_text()
    kind, _, phase = event.value.rpartition(".")
    assert f"`{event.value}`" in text or (f"`{kind}.start`" in text and f"`.{phase}`" in text)


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "client.md").read_text(), re.DOTALL)
    assert len(example.splitlines()) <= 20
    settings = BusSettings(url=URL, host="host-1", name=fresh_name())
    here = example.replace('"rabbit://user:password@broker/"', f"{URL!r}, name={settings.name!r}")
    names = {"host": "host-1", "instance": INSTANCE, "volume": VOLUME}
    with BusWorker(settings):
        exec(compile(here, "docs/client.md", "exec"), names)  # noqa: S102 - the document's own
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{VOLUME} will be /dev/vda, alias ua-")
    assert [line.strip() for line in told[1:]] == [
        "instance.volume_attach.start",
        "instance.volume_attach.end",
    ]
