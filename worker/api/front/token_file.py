"""The tokens of callers, in a file, where there is no Keystone."""

import json
import re
import secrets
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from worker.api.asked import Who
from worker.api.front.open_door import ANYBODY
from worker.api.front.private_files import changing, read_private, write_private
from worker.errors import Invalid

ADMINISTRATOR = "administrator"

SHORTEST = 32
"""Letters of a token: a hash without salt is safe only for what nobody can guess."""

HEAD = """# Who may use the API of blockworker ([api] auth = token). Read again when it changes.
# A line has either `token` itself or its `sha256`; `blockworker api token` adds and removes them.
"""

_NAME = re.compile(r"[\w.@ -]{1,64}")
_ID = re.compile(r"[\w.:@-]{1,255}")
_DIGEST = re.compile(r"[0-9a-f]{64}")

_FIELDS = frozenset({"name", "token", "sha256", "project_id", "user_id", "roles"})

Lines = tuple["TokenLine", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLine:
    """A token: its hash, and for whom it stands. ``token`` is known of the first one alone."""

    name: str
    digest: str
    who: Who
    token: str | None = field(default=None, repr=False)

    def public(self) -> dict[str, Any]:
        """Return what may be shown."""
        roles = " ".join(sorted(self.who.roles))
        shown = {"roles": roles, "readable": self.token is not None}
        return {"name": self.name, **self.who.owner, **shown}


def digest_of(token: str) -> str:
    """Return what is kept of a token."""
    return sha256(token.encode(errors="surrogatepass")).hexdigest()


def make_token() -> str:
    """Return one that nobody can guess, and that begins with no dash."""
    return f"bw_{secrets.token_urlsafe(32)}"


class TokenFile:
    """The file: TOML, mode 0600, whose lines are ``[[token]]``."""

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self.path = path

    def make(self) -> bool:
        """Make it with a token of the administrator, unless it is there; tell whether.

        That one is kept as it is, since somebody has to be able to read the first.
        """
        token = make_token()
        first = TokenLine(name=ADMINISTRATOR, digest=digest_of(token), who=ANYBODY, token=token)
        return write_private(self.path, rendered((first,)), new=True)

    def lines(self) -> Lines:
        """Return what is in it; raises Invalid for what cannot be meant, or others may have."""
        try:
            text = read_private(self.path)
        except OSError as error:
            message = (
                f"the token file {self.path} cannot be read ({error.strerror}); the API makes it at"
                " its first start, `blockworker api token add` too"
            )
            raise Invalid(message) from error
        return parsed(text, self.path)

    def stamp(self) -> tuple[int, ...]:
        """Return what is another after each change; ``()`` while there is no file."""
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

    def add(self, name: str, who: Who) -> str:
        """Add a line and return its token, of which only the hash is kept.

        Whoever reads the file later, or a backup of it, has nobody's token.
        """
        token = make_token()
        line = TokenLine(name=name, digest=digest_of(token), who=who)
        self._change(lambda lines: (*_without(lines, name, there=False), line))
        return token

    def remove(self, name: str) -> None:
        """Take a line away; raises Invalid if there is none of that name."""
        self._change(lambda lines: _without(lines, name, there=True))

    def _change(self, change: Callable[[Lines], Iterable[TokenLine]]) -> None:
        with changing(self.path):
            text = rendered(change(self.lines()))
            parsed(text, self.path)
            write_private(self.path, text)


def parsed(text: str, path: Path) -> Lines:
    """Return the lines of such a file; raises Invalid, and says no token."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line \d+", str(error))
        message = f"the token file {path} is no TOML" + (f" {place[0]}" if place else "")
        raise Invalid(message) from None
    found = tables.pop("token", [])
    if tables or not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        message = f"the token file {path} is to have [[token]] tables and nothing else"
        raise Invalid(message)
    lines = tuple(_line(one, f"token {at} of {path}") for at, one in enumerate(found, 1))
    for what in ("name", "digest"):
        if len({getattr(line, what) for line in lines}) < len(lines):
            message = f"two tokens of {path} have the same {what}"
            raise Invalid(message)
    return lines


def rendered(lines: Iterable[TokenLine]) -> str:
    """Return the file's text."""
    return "\n".join([HEAD, *map(_table, lines)])


def _table(line: TokenLine) -> str:
    secret = {"sha256": line.digest} if line.token is None else {"token": line.token}
    values = {"name": line.name, **secret, **line.who.owner, "roles": sorted(line.who.roles)}
    return "\n".join(["[[token]]", *(f"{k} = {json.dumps(v)}" for k, v in values.items()), ""])


def _without(lines: Lines, name: str, *, there: bool) -> Lines:
    rest = tuple(line for line in lines if line.name != name)
    if (len(rest) < len(lines)) is not there:
        known = ", ".join(line.name for line in lines)
        message = (
            f"no token is named {name}; there are: {known}" if there else f"{name} is there already"
        )
        raise Invalid(message)
    return rest


def _line(table: dict[str, Any], where: str) -> TokenLine:
    unknown = set(table) - _FIELDS
    if unknown:
        message = f"{where} has {', '.join(sorted(unknown))}, which is not known"
        raise Invalid(message)
    token, digest = table.get("token"), table.get("sha256")
    if (token is None) is (digest is None):
        message = f"{where} is to have either `token` or `sha256`"
        raise Invalid(message)
    if token is not None and (not isinstance(token, str) or len(token) < SHORTEST):
        message = f"{where}: a token has at least {SHORTEST} letters; draw one that is random"
        raise Invalid(message)
    return TokenLine(
        name=_word(table, "name", _NAME, where),
        digest=digest_of(token) if token else _word(table, "sha256", _DIGEST, where),
        token=token,
        who=Who(
            user_id=_word(table, "user_id", _ID, where),
            project_id=_word(table, "project_id", _ID, where),
            roles=_roles(table, where),
        ),
    )


def _word(table: dict[str, Any], name: str, form: re.Pattern[str], where: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        message = f"{where}: {name} is missing, or is not of the form {form.pattern}"
        raise Invalid(message)
    return value


def _roles(table: dict[str, Any], where: str) -> frozenset[str]:
    roles = table.get("roles")
    if not isinstance(roles, list) or not all(isinstance(each, str) for each in roles):
        message = f"{where}: roles is to be a list of words"
        raise Invalid(message)
    return frozenset(roles)
