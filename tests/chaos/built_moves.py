"""A scene about an instance that was built elsewhere, whose folder was brought here."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.chaos import instances
from tests.chaos.stage import Case, Stage
from tests.chaos.views import Views
from tests.contract.evil_images import qemu_img
from worker.errors import InstanceNotFound
from worker.image.bases import base_of
from worker.image.config_drives import FILE

OVER = "the root's base"


def released(stage: Stage) -> Case:
    """Have one released and forgotten, its root over another host's copy, its drive left there."""
    case = instances.built(stage)
    of_it = {"instance_uuid": case.guest.uuid}
    stage.run("stop_instance", clean_shutdown=False, **of_it)
    stage.run("release_instance", **of_it)
    document = stage.served.client.call("export_instance", **of_it)
    stage.run("forget_instance", **of_it)
    ((root, base),) = document["bases"].items()
    folder = stage.served.state / "instances" / case.guest.uuid
    here, elsewhere = base["path"], str(stage.folder / "elsewhere" / base["image"])
    (folder / FILE).unlink()
    qemu_img("rebase", "-u", "-f", "qcow2", "-F", base["format"], "-b", elsewhere, folder / root)
    base["path"] = elsewhere
    kept = {"document": json.dumps(document), "root": str(folder / root)}
    return replace(case, row={**kept, "here": here, "elsewhere": elsewhere})


def importing(case: Case) -> dict[str, Any]:
    """Return what the import is asked with."""
    return {"instance_uuid": case.guest.uuid, "document": case.row["document"]}


def brought(case: Case) -> Views:
    """Return what all views are of what was brought, and not imported."""
    return instances.away(case) | {
        "files": instances.DISKS - 1,
        "volume": "in-use",
        "attachments": ["attached"],
        OVER: case.row["elsewhere"],
    }


def taken_in(case: Case) -> Views:
    """Return what all views are of an instance that can be started here."""
    off = {"instance": "stopped", "live XML": None}
    return instances.there(case) | off | {OVER: case.row["here"]}


def differences(stage: Stage, case: Case, wanted: Views) -> list[str]:
    """Look at all views; return where they are not what is wanted."""
    others = {name: view for name, view in wanted.items() if name != OVER}
    over = str(base_of(Path(case.row["root"])))
    wrong = [] if over == wanted[OVER] else [f"{OVER}: {over!r}, not {wanted[OVER]!r}"]
    return instances.differences(stage, case, others) + wrong


def clear(stage: Stage, case: Case) -> None:
    """Take it in if it is not, start it, and take it away; that this works is part of the proof."""
    of_it = {"instance_uuid": case.guest.uuid}
    try:
        stage.served.client.call("get_instance", **of_it)
    except InstanceNotFound:
        stage.run("import_instance", **importing(case))
    stage.run("start_instance", **of_it)
    instances.clear(stage, case)
