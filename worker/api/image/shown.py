"""An image of the folder in Glance's words."""

from worker.api.asked import Json
from worker.model.image import Image


def shown(image: Image) -> Json:
    """Return all that is said of the image; its properties are beside the rest, as in Glance."""
    changed = None
    if image.changed_at is not None:
        changed = image.changed_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    algorithm, digest = image.checksum or (None, None)
    return dict(image.properties) | {
        "id": image.id,
        "name": image.name,
        "status": "active",
        "disk_format": image.format,
        "container_format": "bare",
        "size": image.size,
        "virtual_size": None,
        "min_disk": image.min_disk,
        "min_ram": image.min_memory,
        "visibility": "public",
        "protected": False,
        "os_hidden": False,
        "owner": None,
        "checksum": None,
        "os_hash_algo": algorithm,
        "os_hash_value": digest,
        "created_at": changed,
        "updated_at": changed,
        "tags": [],
        "self": f"/v2/images/{image.id}",
        "schema": "/v2/schemas/image",
    }
