"""Who is alive on this host: a process lives as long as its lock file is locked.

The kernel frees the lock with the process, however it ends, so no clock is involved. Folders must be on a local disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
import time
from pathlib import Path


class LockFiles:
    """The lock files of one folder; processes that share it are on one host. All methods may wait for the disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._locked: dict[str, int] = {}
        self.host = self._host_id()

    def lock(self, lease_owner: str) -> None:
        """Lock the file of `lease_owner` until `release` or the end of this process."""
        path = self._path(lease_owner)
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)  # somebody who looks whether we live has it for a moment
            # Somebody may have found the file between its making and its locking, and removed it as a dead one's.
            if _is_at(path, file):
                self._locked[lease_owner] = file
                return
            os.close(file)

    def bury(self, *, age: float = 0.0) -> None:
        """Remove what the dead left here who came to life at least `age` seconds ago."""
        latest = time.time() - age
        with os.scandir(self._folder) as files:  # there may be thousands
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    if file.name.endswith(".lock") and file.stat().st_mtime <= latest:
                        self.is_dead(file.name.removesuffix(".lock"))

    def is_dead(self, lease_owner: str) -> bool | None:
        """Whether `lease_owner` has its file locked no more, which is removed then. None where it has none."""
        if lease_owner in self._locked:
            return False
        path = self._path(lease_owner)
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            if _is_at(path, file):  # else it is a new one's by now
                path.unlink()
            return True
        finally:
            os.close(file)

    def release(self, lease_owner: str) -> None:
        """Unlock and remove the file of `lease_owner`."""
        self._path(lease_owner).unlink(missing_ok=True)
        self.unlock(lease_owner)

    def unlock(self, lease_owner: str) -> None:
        """Let everybody find that `lease_owner` is dead."""
        os.close(self._locked.pop(lease_owner))

    def _path(self, lease_owner: str) -> Path:
        return self._folder / f"{lease_owner}.lock"

    def _host_id(self) -> str:
        path, ours = self._folder / "host", self._folder / f"host-{secrets.token_hex(8)}"
        if not path.exists():
            ours.write_text(secrets.token_hex(8), encoding="ascii")
            with contextlib.suppress(FileExistsError):  # somebody else was first
                os.link(ours, path)  # so it is there with its contents or not at all
            ours.unlink()
        return path.read_text(encoding="ascii")


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def shared_folder() -> Path:
    """The folder of this user's lock files where the database is on another host."""
    # Named as older processes know it, which may still be at work during a deploy.
    return Path(tempfile.gettempdir()) / f"bob-holders-{os.getuid()}"
