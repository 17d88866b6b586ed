"""Tags: names by which a user knows a disk."""

import re

from worker.errors import RequestMalformed

_TAG = re.compile(r"[^\x00-\x1f\x7f/,]{1,60}")


def is_tag(text: str) -> bool:
    """Tell whether a text may be a tag, by the rule of Nova's API."""
    return _TAG.fullmatch(text) is not None


def check_tag(text: str | None) -> None:
    """Raise RequestMalformed unless the text is a tag, or none."""
    if text is not None and not is_tag(text):
        raise RequestMalformed("tag is none: 1 to 60 characters, no slash, no comma")
