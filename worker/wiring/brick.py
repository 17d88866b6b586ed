"""os-brick as the configuration asks for it, and how its volumes are cached."""

from collections.abc import Mapping
from pathlib import Path

from oslo_config import cfg

from worker.conf.volume import MOUNTED
from worker.errors import Invalid
from worker.ports import Connector
from worker.volume.brick import BrickConnector
from worker.volume.brick_setup import BrickOptions
from worker.volume.cache_modes import MODES, SHAPES, CacheModes


def make_brick(conf: cfg.ConfigOpts, folder: Path) -> Connector:
    """Return os-brick's side of this host; ``folder`` is the worker's own."""
    return BrickConnector(
        host=conf.host, my_ip=conf.volume.my_ip, options=brick_options(conf, folder)
    )


def cached(connector: Connector, conf: cfg.ConfigOpts) -> Connector:
    """Have the connector's volumes cached as is configured; raises Invalid."""
    modes: Mapping[str, str] = conf.volume.disk_cachemodes
    for shape, mode in modes.items():
        if shape not in SHAPES or mode not in MODES:
            known = f"{', '.join(sorted(SHAPES))}: {', '.join(sorted(MODES))}"
            raise Invalid(f"[volume] disk_cachemodes has {shape}:{mode}; known are {known}")
    return CacheModes(connector, modes) if modes else connector


def brick_options(conf: cfg.ConfigOpts, folder: Path) -> BrickOptions:
    """Return how os-brick is to work."""
    said = conf.volume
    # os-brick has the mount program's name of the type where OpenStack has an older one.
    mounts = {"cifs" if kind == "smbfs" else kind: kind for kind in MOUNTED}
    return BrickOptions(
        lock_path=str(said.lock_path or folder / "locks"),
        root_helper=said.root_helper,
        multipath=said.multipath,
        enforce_multipath=said.enforce_multipath,
        device_scan_attempts=said.device_scan_attempts,
        connect_attempts=said.connect_attempts,
        iscsi_transport=said.iscsi_transport,
        mount_path=str(said.mount_path or folder / "mnt"),
        mount_options={name: said[f"{kind}_mount_options"] for name, kind in mounts.items()},
    )
