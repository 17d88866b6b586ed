"""What the REST tier answers of volumes and images, where no other service does."""

from oslo_config import cfg

from worker.image.listing import FolderListing
from worker.persistence.database import Database
from worker.persistence.fleet.pool import FleetPool
from worker.ports import PoolReading
from worker.wiring.images import images_folder


def make_pool(conf: cfg.ConfigOpts, database: Database, records: PoolReading) -> FleetPool | None:
    """Return the pool as the fleet has it; None where volumes are Cinder's."""
    return None if conf.volume.service == "cinder" else FleetPool(database, records)


def make_image_listing(conf: cfg.ConfigOpts) -> FolderListing | None:
    """Return the images of the folder on this host; None where they are Glance's."""
    return None if conf.image.service == "glance" else FolderListing(images_folder(conf))


def where_cinder_is(conf: cfg.ConfigOpts) -> str | None:
    """Return what a caller is told who looks here for Cinder's volumes."""
    given = conf.cinder
    return _where(given.endpoint, given.auth_url)


def where_glance_is(conf: cfg.ConfigOpts) -> str | None:
    """Return what a caller is told who looks here for Glance's images."""
    given = conf.image
    return _where(given.glance_endpoint, given.glance_auth_url)


def _where(endpoint: str | None, identity: str | None) -> str | None:
    if endpoint is not None:
        return str(endpoint)
    return None if identity is None else f"the endpoint that the catalogue of {identity} has"
