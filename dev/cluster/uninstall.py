"""Takes back what KubeTune installed on this machine, by its own record, and says what stays and why."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from dev import progress, shell
from dev.cluster import debian, installed, installing, leftovers
from dev.cluster.installed import Record
from dev.errors import DevError
from dev.images import buildah

_MAY_OWN = ("/etc", "/opt", "/run", "/srv", "/usr/local", "/var")


class UninstallError(DevError):
    """What cannot be taken back now."""


def uninstall() -> None:
    """Remove what is recorded, but for what others need now."""
    if found := next(leftovers.report(), None):
        raise UninstallError(f"The local cluster is still here ({found}): run make clean-cluster first.")
    _remove_run_root()
    installing.remove_abandoned_policy()
    record = installed.load()
    if record is None:
        progress.note(
            "KubeTune has no record of having installed anything on this machine, so no package is removed."
        )
        return
    with progress.step("Remove what was installed"):
        kept = [*_remove_packages(record), *_remove_users(record)]
        _remove_paths(record)
        installed.forget()
    for line in kept:
        progress.note(f"   {line}")


def _remove_packages(record: Record) -> Iterator[str]:
    """Remove packages; tells those that stay."""
    present = record.packages & debian.present()
    wanted = _marked("manual") & {*record.dependencies} & present | _marked("hold") & present
    if wanted:
        yield f"{_list(wanted)}: stays, since somebody has asked apt for it"
    ours = present - wanted
    if ours:
        installing.mark_automatic(sorted(ours))  # right too for what stays: it goes with what needs it
    removable = ours & {*debian.unneeded()}
    if needed := ours - removable:
        yield f"{_list(needed)}: stays, since another package needs it"
    others = {*debian.plan_removal(sorted(removable)).removed} - removable if removable else set()
    if others:
        raise UninstallError(
            f"To remove {_list(removable)}, apt would also remove {_list(others)}: nothing was removed."
        )
    for keep, names in ((True, removable & {*record.configured}), (False, removable - {*record.configured})):
        if names:
            installing.purge(sorted(names), keep_configuration=keep)
    if record.upgraded:
        yield f"{_list(record.upgraded)}: stays in the newer version"


def _marked(how: str) -> set[str]:
    return {name.partition(":")[0] for name in shell.output(["apt-mark", f"show{how}"]).split()}


def _remove_users(record: Record) -> Iterator[str]:
    """Remove users and groups that own nothing any more; tells those that stay."""
    for table, names, command in (
        ("passwd", record.users, "userdel"),
        ("group", record.groups, "groupdel"),
    ):
        kind = {"passwd": "user", "group": "group"}[table]
        for name, number in names.items():
            if installed.ids(table).get(name) != number:
                continue  # it is gone, or another one
            if owned := _owned(kind, number):
                yield f"the {kind} {name}: stays, since {owned} belongs to it"
            elif not shell.succeeds([command, name]):
                yield f"the {kind} {name}: stays, since {command} fails"


def _owned(kind: str, number: int) -> str:
    """Return a file of a user or group, if there is one where programs keep files."""
    test = {"user": "-uid", "group": "-gid"}[kind]
    folders = [folder for folder in _MAY_OWN if Path(folder).is_dir()]
    return shell.output(["find", *folders, "-xdev", test, str(number), "-print", "-quit"]).strip()


def _remove_paths(record: Record) -> None:
    for path in map(Path, record.paths):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)


def _remove_run_root() -> None:
    for point in leftovers.mounts(buildah.RUN_ROOTS):
        shell.output(["umount", "--lazy", point])
    shutil.rmtree(buildah.RUN_ROOTS, ignore_errors=True)


def _list(names: set[str] | tuple[str, ...]) -> str:
    return ", ".join(sorted(names))
