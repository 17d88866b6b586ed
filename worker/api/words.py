"""Flags as clients of OpenStack write them."""

TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})


def is_true(value: object) -> bool:
    """Tell whether a flag is set: by JSON's own word, or by one of Nova's in whatever case."""
    return value is True or str(value).lower() in TRUE
