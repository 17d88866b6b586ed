"""The rules of block storage and of images: name, who may, what, and the requests."""

_VOLUMES = "/v3/volumes"
_ONE = "/v3/volumes/{volume_id}"

STORAGE_RULES = (
    ("volume:get_all", "reader", "List volumes", f"GET {_VOLUMES}", f"GET {_VOLUMES}/detail"),
    ("volume:get", "reader", "Show a volume", f"GET {_ONE}"),
    ("volume:create", "member", "Make a volume", f"POST {_VOLUMES}"),
    ("volume:delete", "member", "Delete a volume", f"DELETE {_ONE}"),
    ("volume:extend", "member", "Make a volume larger", f"POST {_ONE}/action"),
    ("get_images", "reader", "List images", "GET /v2/images"),
    ("get_image", "reader", "Show an image", "GET /v2/images/{image_id}"),
)
