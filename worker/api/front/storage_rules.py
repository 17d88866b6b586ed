"""The rules of block storage and of images: Cinder's and Glance's names, who may, what, where."""

STORAGE_RULES: tuple[tuple[str, ...], ...] = (
    ("volume:get_all", "reader", "List volumes", "GET /v3/volumes", "GET /v3/volumes/detail"),
    ("volume:get", "reader", "Show a volume", "GET /v3/volumes/{volume_id}"),
    ("volume:create", "member", "Make a volume", "POST /v3/volumes"),
    ("volume:delete", "member", "Delete a volume", "DELETE /v3/volumes/{volume_id}"),
    ("volume:extend", "member", "Make a volume larger", "POST /v3/volumes/{volume_id}/action"),
    ("get_images", "reader", "List images", "GET /v2/images"),
    ("get_image", "reader", "Show an image", "GET /v2/images/{image_id}"),
)
