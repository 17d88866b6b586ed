"""What volumes leave on this host, as the configuration has them come here."""

from pathlib import Path

from oslo_config import cfg

from worker.ports import Leftovers
from worker.volume.leftovers.host import HostLeftovers
from worker.volume.leftovers.together import WithExports
from worker.volume.leftovers.tools import BrickTools
from worker.wiring.exports import Exports


def make_leftovers(conf: cfg.ConfigOpts, folder: Path, exports: Exports | None) -> Leftovers:
    """Return what lists and removes them; ``folder`` is the worker's own."""
    host = HostLeftovers(
        BrickTools(conf.volume.root_helper),
        mount_bases=[str(conf.volume.mount_path or folder / "mnt")],
        # QEMU's sessions are no sessions of the host: those that are there are not ours.
        sessions=conf.volume.iscsi_initiator != "qemu",
    )
    keeper = None if exports is None else exports.keeper
    return host if keeper is None else WithExports(host, keeper)
