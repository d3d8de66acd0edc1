"""Run by path, not imported: become another program that ends when our parent does.

Usage: ``python -I -S launch.py PARENT_PID DEATH_SIGNAL USER PROGRAM [ARGUMENT …]``. USER is ``same``, or ``ordinary``
for a program that refuses to run as root (PostgreSQL): it then runs in a user namespace in which root bears an ordinary
number, so that folders readable by root alone stay so.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_ORDINARY_ID = 1000


def main(arguments: list[str]) -> None:
    parent, death_signal, user, *command = arguments
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if user == "ordinary":
            _enter_user_namespace(libc)
        # After the change of user, which may clear it; it survives the exec of an ordinary program.
        if libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit("the parent has already ended")
    try:
        os.execv(command[0], command)  # noqa: S606  # no shell, and the caller chooses the program
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def _enter_user_namespace(libc: ctypes.CDLL) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER) != 0:
        reason = os.strerror(ctypes.get_errno())
        sys.exit(
            f"{reason}: this program does not run as root and no user namespace is to be had;"
            " start as an ordinary user, or set DERMAFLEET_DATABASE_URL"
        )
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{_ORDINARY_ID} {uid} 1"),
        ("gid_map", f"{_ORDINARY_ID} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


if __name__ == "__main__":
    main(sys.argv[1:])
