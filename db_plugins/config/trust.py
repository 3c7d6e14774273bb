"""Whether a file that was found, not named, may be used: not if another user could have written it.

A file is refused unless all of this holds (on systems with users; root is always trusted):

    - it and its folder belong to you (under sudo, to the user who called it); the folder may be a sticky one
    - neither can be written by everybody, but for a sticky folder
    - neither can be written by a group, other than the owner's private one that many systems give each user

A path that the user names is used as it is: naming it is the way out.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import ConfigError

__all__ = ["refuse_if_others_write"]


def refuse_if_others_write(file: Path) -> None:
    """Raise ConfigError if a user other than the present one, and root, can change or replace this file."""
    if not hasattr(os, "geteuid"):
        return
    for path in (file, file.resolve(), file.parent.resolve()):
        reason = _reason(path)
        if reason:
            raise ConfigError(
                f"{file} is not used: {path} {reason}, so another user could change what runs here",
                hint="take that right away (chmod go-w), or name the file yourself: "
                f"DBP_SETTINGS={file}, or dbp --settings {file}",
            )


def _reason(path: Path) -> str | None:
    status = path.stat()
    sticky = path.is_dir() and bool(status.st_mode & stat.S_ISVTX)
    if status.st_uid not in _trusted() and not sticky:
        return f"belongs to another user (uid {status.st_uid})"
    if sticky:
        return None
    if status.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid, status.st_uid):
        return f"can be written by a group (gid {status.st_gid})"
    return None


def _trusted() -> set[int]:
    sudo = os.environ.get("SUDO_UID", "")
    return {0, os.geteuid()} | ({int(sudo)} if os.geteuid() == 0 and sudo.isdecimal() else set())


def _is_private(gid: int, uid: int) -> bool:
    """Is this the group that only its owner is in?"""
    if gid == 0:
        return True
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return gid == uid
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
