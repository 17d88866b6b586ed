"""Secrets of a connection on their way through a library that logs what it is given.

os-brick traces the arguments of its calls at DEBUG and masks them by a list of names of its own,
which lacks several that volume services use.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.model.connection import is_secret

MASK = "***"


class Hidden(str):
    """A secret that works as its text, and shows as a mask within whatever is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show nothing; containers print their items by their repr."""
        return repr(MASK)


def hide(value: Any, *, secret: bool = False) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Return a deep copy of a connection's properties whose secrets do not show in a repr."""
    match value:
        case Mapping():
            return {key: hide(item, secret=secret or is_secret(key)) for key, item in value.items()}
        case list() | tuple():
            return [hide(item, secret=secret) for item in value]
        case str() if secret:
            return Hidden(value)
        case _:
            return value


def hidden_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON has no narrower type
    """Yield every secret text within what ``hide`` returned."""
    match value:
        case Mapping():
            for item in value.values():
                yield from hidden_in(item)
        case list():
            for item in value:
                yield from hidden_in(item)
        case Hidden() if value:
            yield str(value)


def mask(text: str, properties: Any) -> str:  # noqa: ANN401 - JSON has no narrower type
    """Replace in the text every secret within what ``hide`` returned."""
    for secret in hidden_in(properties):
        text = text.replace(secret, MASK)
    return text
