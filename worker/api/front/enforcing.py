"""The rules of who may ask what, with the operator's own in their place."""

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from oslo_config import cfg
from oslo_policy import _checks as checks
from oslo_policy.policy import Enforcer, InvalidDefinitionError, RuleDefault, parse_file_contents

from worker.api.asked import Refused, Who
from worker.api.front.policies import list_rules
from worker.errors import Invalid

LOG = logging.getLogger(__name__)

Stamp = tuple[tuple[str, int, int, int], ...]

_NEVER = re.compile(r"(?<![^\s(])!(?![^\s)])")


class OsloPolicy:
    """The rules, as oslo.policy has them; read again when a file of them changes.

    oslo.policy's own loading takes a rule that it cannot read for one that lets nobody, and a file
    that it cannot read for none: here neither becomes the rules.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Read the operator's files, if there are any; raises Invalid."""
        self._conf = conf
        self._lock = threading.Lock()
        self._stamp = stamp_of(policy_files(conf))
        self._enforcer = make_enforcer(conf)

    def check(self, rule: str, who: Who, target: Mapping[str, str | None]) -> None:
        """Raise Refused (403) unless the rule lets them."""
        if not self.allows(rule, who, target):
            raise Refused(403, f"Policy doesn't allow {rule} to be performed.")

    def allows(self, rule: str, who: Who, target: Mapping[str, str | None]) -> bool:
        """Tell whether the rule lets them; one that nobody knows lets nobody."""
        credentials = {
            "user_id": who.user_id,
            "project_id": who.project_id,
            "roles": sorted(who.roles),
            "service_roles": sorted(who.service_roles),
        }
        return bool(self._today().enforce(rule, dict(target), credentials))

    def _today(self) -> Enforcer:
        stamp = stamp_of(policy_files(self._conf))
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    self._read_again(stamp)
        return self._enforcer

    def _read_again(self, stamp: Stamp) -> None:
        try:
            self._enforcer = make_enforcer(self._conf)
        except Invalid as error:
            LOG.error("policy not read, the last good rules count: error=%s", error)  # noqa: TRY400 - the line says all
        else:
            LOG.info("policy read again: files=%s", " ".join(each[0] for each in stamp) or "-")
        self._stamp = stamp


def make_enforcer(conf: cfg.ConfigOpts) -> Enforcer:
    """Return the rules of today; raises Invalid, which names file and rule."""
    rules: dict[str, checks.BaseCheck] = {each.name: each.check for each in list_rules()}
    for path in policy_files(conf):
        rules |= {each.name: each.check for each in read_policy(path)}
    enforcer = Enforcer(conf, rules=rules, use_conf=False)
    try:
        enforcer.check_rules(raise_on_violation=True)
    except InvalidDefinitionError as error:
        message = f"policy: a rule names one that is not there, or itself: {error}"
        raise Invalid(message) from error
    return enforcer


def policy_files(conf: cfg.ConfigOpts) -> tuple[Path, ...]:
    """Return the operator's files that are there, later ones first in rank.

    What is relative is looked for beside the configuration file, and nowhere else.
    """
    base = _beside(conf)
    file = base / conf.oslo_policy.policy_file
    folders = [base / each for each in conf.oslo_policy.policy_dirs]
    inside = [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
    return tuple(path for path in (file, *inside) if path.exists())


def stamp_of(files: Iterable[Path]) -> Stamp:
    """Return what is another after each change."""
    return tuple(_stamps(files))


def read_policy(path: Path) -> tuple[RuleDefault, ...]:
    """Return the rules of a file; raises Invalid."""
    try:
        found: object = parse_file_contents(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"the policy file {path} cannot be read: {' '.join(str(error).split())}"
        raise Invalid(message) from error
    if not isinstance(found, dict):
        message = f"the policy file {path} is to be a mapping of rules, `name: check`"
        raise Invalid(message)
    return tuple(_rule(name, check, path) for name, check in found.items())


def _rule(name: object, check: object, path: Path) -> RuleDefault:
    message = f"the policy file {path}: {name} is not a rule that can be read: {check!r}"
    if not isinstance(name, str) or not isinstance(check, str):
        raise Invalid(message)
    rule = RuleDefault(name, check)
    if _nevers(rule.check) > len(_NEVER.findall(check)):
        raise Invalid(message)
    return rule


def _nevers(check: checks.BaseCheck) -> int:
    """Return how many parts let nobody: what cannot be read becomes one."""
    inner = [*getattr(check, "rules", ()), *filter(None, [getattr(check, "rule", None)])]
    return isinstance(check, checks.FalseCheck) + sum(map(_nevers, inner))


def _beside(conf: cfg.ConfigOpts) -> Path:
    files = conf.default_config_files or ["/etc/blockworker/blockworker.conf"]
    return Path(files[-1]).absolute().parent


def _stamps(files: Iterable[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in files:
        try:
            found = path.stat()
        except OSError:
            continue
        yield str(path), found.st_ino, found.st_mtime_ns, found.st_size
