"""Installs Debian packages without removing any, starts none of their services, and records what is new.

Standard library only: `python3 -m dev.cluster.installing NAME` installs what a .venv is made with.
"""

import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from dev import paths, shell
from dev.cluster import debian, installed
from dev.cluster.installed import Record
from dev.errors import DevError

PAGE = "docs/reference/local-cluster.md"
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# KubeTune: while packages are installed.\nexit 101\n"
_SYSTEMD = Path("/run/systemd/system")
_UNITS = Path("/etc/systemd/system")
# Another apt may be at work on the machine: wait for its lock rather than fail. No archives are kept.
_APT = (
    "apt-get",
    *("-o", "DPkg::Lock::Timeout=300"),
    *("-o", "APT::Keep-Downloaded-Packages=false"),
    "-qq",
)
_ENV = {"DEBIAN_FRONTEND": "noninteractive"}


class InstallError(DevError):
    """Packages that cannot be installed without taking something away."""


def log() -> Path:
    """Return the log of all that apt did."""
    return paths.cache() / "packages.log"


def install(names: Sequence[str], *, say: Callable[[str], None]) -> None:
    """Install packages; `say` is told what apt will do before it does it."""
    with _one_at_a_time():
        missing = debian.missing(names)  # looked at again: another command may have done it meanwhile
        if not missing:
            return
        shell.run([*_APT, "update"], log=log(), env=_ENV)
        plan = debian.plan_install(missing)
        if plan.removed:
            raise InstallError(refusal(missing, plan.removed))
        for line in describe(plan):
            say(line)
        _install(missing, plan)


def refusal(names: Sequence[str], removed: Sequence[str]) -> str:
    """Say that packages are not installed since others would have to go."""
    return (
        f"To install {', '.join(names)}, apt would have to remove {', '.join(removed)}: nothing was changed."
        " Use another machine, a virtual one if need be."
    )


def describe(plan: debian.Plan) -> Iterator[str]:
    """Say what apt will do, and how it is taken back."""
    yield f"   installs {len(plan.new)} Debian packages: {', '.join(plan.new)}"
    if plan.upgraded:
        yield f"   upgrades {', '.join(plan.upgraded)}, which these need in a newer version"
    yield f"   make uninstall takes them back ({PAGE})"


def purge(names: Sequence[str], *, keep_configuration: bool) -> None:
    """Remove packages, with their configuration or without."""
    action = "remove" if keep_configuration else "purge"
    # Scripts of System V fail to stop what does not run, and their packages then stay.
    with nullcontext() if _SYSTEMD.is_dir() else _no_services():
        shell.run([*_APT, action, "-y", "--no-auto-remove", *names], log=log(), env=_ENV)


def mark_automatic(names: Sequence[str]) -> None:
    """Have apt take these packages for ones that are there only while others need them."""
    shell.run(["apt-mark", "auto", *names], log=log())


def remove_abandoned_policy() -> None:
    """Delete what a killed installation left, and what keeps all services of this machine from starting."""
    if _policy_is_ours():
        _POLICY.unlink()


def _install(names: Sequence[str], plan: debian.Plan) -> None:
    before = installed.load() or Record()
    known, users, groups = debian.installed(), installed.ids("passwd"), installed.ids("group")
    units, configured = _enabled(), debian.configured()
    planned = Record(
        asked_for=tuple(names),
        dependencies=tuple(name for name in plan.new if name not in names),
        configured=tuple(name for name in plan.new if name in configured),
        upgraded=plan.upgraded,
        paths=installed.absent_paths(),
    )
    installed.save(before.joined(planned))  # first: whoever is killed meanwhile can take it back too
    try:
        with _no_services():
            shell.run(
                [*_APT, "install", "-y", *debian.INSTALL_OPTIONS, *names],
                log=log(),
                env=_ENV,
            )
    finally:
        # Of the plan only: another apt may have been at work in between.
        new = (debian.installed() - known) & {*plan.new}
        record = Record(
            asked_for=tuple(name for name in planned.asked_for if name in new),
            dependencies=tuple(sorted(new - {*names})),
            configured=planned.configured,
            upgraded=planned.upgraded,
            users=_added(users, installed.ids("passwd")),
            groups=_added(groups, installed.ids("group")),
            paths=planned.paths,
        )
        installed.save(before.joined(record))
    if shutil.which("systemctl"):
        # They would start at the next boot, on the ports that the cluster uses.
        for unit in sorted(_enabled() - units):
            shell.run(["systemctl", "disable", unit], log=log())


def _added(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in after.items() if name not in before}


def _enabled() -> set[str]:
    """Return the units of systemd that start with the machine."""
    return {link.name for link in _UNITS.glob("*.wants/*")}


@contextmanager
def _no_services() -> Iterator[None]:
    """Forbid packages to start and stop services, in the way Debian asks administrators to do it."""
    if _POLICY.exists() and not _policy_is_ours():
        yield  # the administrator's own; container images ship one that forbids the same
        return
    _POLICY.write_text(_POLICY_TEXT)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _policy_is_ours() -> bool:
    return _POLICY.is_file() and _POLICY.read_text(errors="replace") == _POLICY_TEXT


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    path = paths.cache() / "packages.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        install(sys.argv[1:], say=lambda line: print(line.strip(), file=sys.stderr))
    except DevError as error:
        sys.exit(str(error))
