"""A secret argument: as the handler gets it, as the journal keeps it, as people are shown it."""

import re
from collections.abc import Mapping
from typing import Any

from worker.errors import RequestMalformed

SEALED = "sealed"
"""The one key of an argument that the journal keeps sealed; its value is empty once blanked."""

BLANK: Mapping[str, str] = {SEALED: ""}

LONGEST = 4096
"""So many bytes a secret may have; one that is longer is a file, and was meant for elsewhere."""

_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Secret:
    """A text that no log, row, update or traceback may show; ``reveal`` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Hide the text."""
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the one who needs it."""
        return self._text

    def __repr__(self) -> str:
        """Say that there is one, and no more."""
        return "Secret(hidden)"

    def __eq__(self, other: object) -> bool:
        """Tell whether both hide the same."""
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash((Secret, self._text))


def check_secret(text: str) -> None:
    """Raise RequestMalformed, which does not repeat it, unless the text can be a password.

    Whoever reads a password from a line would read another than was meant.
    """
    if _LINE.fullmatch(text) is None or len(text.encode()) > LONGEST:
        message = f"is no password: one line of 1 to {LONGEST} bytes, without control characters"
        raise RequestMalformed(message)


def is_sealed(value: object) -> bool:
    """Tell whether an argument of the journal stands for a secret, blanked or not."""
    return isinstance(value, Mapping) and set(value) == {SEALED}


def blanked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operation that has ended, their secrets gone for good."""
    return {name: BLANK if is_sealed(value) else value for name, value in arguments.items()}


def shown(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments as people and programs may see them."""
    return {name: "(secret)" if is_sealed(value) else value for name, value in arguments.items()}


def same_arguments(kept: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Tell whether a second delivery asks for the same; a secret that was blanked says nothing."""
    known = {name for name, value in kept.items() if value == BLANK and is_sealed(given.get(name))}
    return _without(kept, known) == _without(given, known)


def _without(arguments: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in names}
