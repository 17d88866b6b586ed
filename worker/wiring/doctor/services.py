"""Checks of what the worker talks to: itself, the bus, the database, images and volumes."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy.engine import make_url

from worker.errors import ImageNotFound, WorkerUnreachable
from worker.health.checks import folders, programs
from worker.model.finding import Finding, failed, ok, warning
from worker.model.ids import ImageId
from worker.model.operation import OperationState
from worker.persistence import migrate
from worker.rpc.local import LocalClient
from worker.rpc.safety import Unsafe, unsafe_on_broker
from worker.wiring.api_front import check_api
from worker.wiring.doctor.surroundings import Surroundings
from worker.wiring.images import check_images, make_images
from worker.wiring.keys import make_keys
from worker.wiring.places import socket_path
from worker.wiring.settings import bus_settings, make_database, unsafe_bus
from worker.wiring.volumes import check_volumes, lacks

ANSWERS_WITHIN = 3.0
"""Seconds for a worker that runs to say so."""

NO_IMAGE = ImageId("00000000-0000-0000-0000-000000000000")
"""Which a Glance that answers does not have."""

AS_A_SERVICE = (
    "give the worker an account with the role `service` at the identity service, and turn on"
    " [cinder] service_token"
)


def worker(here: Surroundings) -> Iterator[Finding]:
    """Say whether a worker runs; without one as much is looked at."""
    try:
        said = LocalClient(socket_path(here.conf), timeout=ANSWERS_WITHIN).call("ping")
    except WorkerUnreachable:
        yield ok("no worker answers here; what follows was looked at without one")
    else:
        yield ok(f"the worker of {said['host']} answers")


def broker(here: Surroundings) -> Iterator[Finding]:
    """Look at the bus's settings, and ask the broker what it has."""
    settings = bus_settings(here.conf)
    for each in unsafe_bus(settings, ask_broker=False):
        yield _unsafe(each)
    if settings.in_process is None:
        for each in unsafe_on_broker(settings):
            yield _unsafe(each)
        yield ok("the broker answers")


def database(here: Surroundings) -> Iterator[Finding]:
    """Look whether the database answers, and whether its schema is this release's."""
    file = here.database_file
    if file is not None and not file.exists():
        yield ok(f"{file} is made by `blockworker serve`")
        return
    kept = make_database(here.conf)
    wrong = migrate.check(kept.engine)
    where = make_url(str(kept.engine.url)).render_as_string(hide_password=True)
    if wrong is not None:
        yield failed(f"{where}: {wrong}", "blockworker db upgrade")
        return
    yield ok(f"{where} answers, its schema is at {migrate.head()}")
    yield from _stuck(here)


def volume_service(here: Surroundings) -> Iterator[Finding]:
    """Ask the volume service whether it will do what is going to be asked."""
    check_volumes(here.conf)
    if here.conf.volume.service == "pool":
        yield from _pool(here)
        return
    lacking = lacks(here.conf)
    for each in lacking:
        yield warning(each, AS_A_SERVICE)
    if not lacking:
        yield ok("Cinder answers, and takes the worker for a service")


def keys(here: Surroundings) -> Iterator[Finding]:
    """Look where the passphrases of encrypted volumes are; none is read."""
    if here.conf.volume["keys"] == "files":
        yield folders.key_files(Path(here.conf.volume.keys_path or here.folder / "keys"))
        return
    make_keys(here.conf)
    yield ok("passphrases are with a key manager, by castellan")


def images(here: Surroundings) -> Iterator[Finding]:
    """Look at the folders of images and local disks, and whether Glance answers."""
    check_images(here.conf)
    if here.conf.image.service == "folder":
        yield ok("images are files of this host, and their folders can be used")
        return
    with suppress(ImageNotFound):
        make_images(here.conf, tuple).show(NO_IMAGE)
    yield ok("Glance answers, and the folders of images can be used")


def api(here: Surroundings) -> Iterator[Finding]:
    """Look whether `blockworker api` and `all-in-one` would serve as they are configured."""
    check_api(here.conf)
    said = here.conf.api
    yield ok(f"the API can be served at {said.listen}, callers are known by {said.auth}")
    if said.auth == "none":
        yield warning(
            "whoever can reach the API is its administrator, each user of this machine too",
            "set [api] auth to token or keystone",
        )


def _pool(here: Surroundings) -> Iterator[Finding]:
    said = here.conf.volume
    if said.pool_protocol == "local":
        yield ok("volumes are of the built-in pool, and reached by their path")
    elif said.pool_tgt_socket is not None and not Path(said.pool_tgt_socket).is_socket():
        yield failed(f"no tgtd is at {said.pool_tgt_socket}", "start it, or unset pool_tgt_socket")
    elif said.pool_tgt_socket is None and not programs.found("tgtd"):
        yield failed("the pool's volumes are LUNs of a tgtd, which is not here", "install tgt")
    else:
        yield ok("volumes are of the built-in pool, and reached over iSCSI")


def _stuck(here: Surroundings) -> Iterator[Finding]:
    found = here.repositories().operations.list(states=(OperationState.STUCK,))
    if found:
        first = f"{found[0].id} ({found[0].method})"
        yield warning(
            f"{len(found)} stuck: {first}{' and others' if len(found) > 1 else ''}",
            "`blockworker operation list --state stuck`, then retry or abandon each",
        )


def _unsafe(each: Unsafe) -> Finding:
    return warning(f"{each.what}: {each.why}", each.do)
