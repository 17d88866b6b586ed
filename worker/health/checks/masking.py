"""No secret in what is said of a part, whoever said it."""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

HIDDEN = "***"

_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z\d+.-]*://)(?P<user>[^/@\s:]*):[^@\s]*@", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/@\s:]*:(?P<password>[^@\s]+)@")


class Mask:
    """Hides the passwords of URLs, and the secrets that the configuration has."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take values that are secret: URLs with a login in them, or secrets themselves."""
        known = {word for secret in secrets for word in _words(secret)}
        self._known = sorted(known, key=len, reverse=True)

    def over(self, text: str) -> str:
        """Return the text without any of them."""
        for word in self._known:
            text = text.replace(word, HIDDEN)
        return _LOGIN.sub(rf"\g<scheme>\g<user>:{HIDDEN}@", text)


def _words(secret: str) -> set[str]:
    """Return what must not be shown of it, in each form that somebody may have brought it into."""
    if "://" not in secret:
        found = {secret}
    else:
        found = {match["password"] for match in _PASSWORD.finditer(secret)}
    forms = {form for word in found for form in (word, unquote(word), quote(word, safe=""))}
    return {form for form in forms if form}
