"""Builds of Bob in which a promise is broken on purpose: `python -m tests.simulated.broken` shows that each is found.

Some are those of `make broken`; the others are such as storms of processes miss, since it takes a pause or a lost
answer at a moment of a few milliseconds to tell them from Bob.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

from tests.broken.builds import BUILDS, BrokenBuild
from tests.broken.copies import copy_to

SECONDS = 60  # of processor time
TURNS = 60
SUBTLE = (
    BrokenBuild(
        "fence-checked-before-the-write",
        "what was posted is recorded for whoever had the lease a moment ago",
        "core/store/turns.py",
        "sa.update(turns).where(HAS_LEASE).values(values).returning(turns.c.id),",
        'sa.update(turns).where(turns.c.id == sa.bindparam("turn"), sa.bindparam("lease") > 0, IS_OPEN)'
        ".values(values).returning(turns.c.id),",
        [],
    ),
    BrokenBuild(
        "heartbeat-of-a-paused-process",
        "what a process heard of its leases before a pause counts as heard after it",
        "core/chat.py",
        "self._last_heartbeat = began  #",
        "self._last_heartbeat = asyncio.get_running_loop().time()  #",
        [],
    ),
    BrokenBuild(
        "edits-are-not-heard",
        "what was changed before it was asked is asked as it was",
        "bots/shared/intake.py",
        "if not now.text or (before",
        "if turn or not now.text or (before",
        [],
    ),
    BrokenBuild(
        "the-password-of-a-line-is-stored",
        "while a question waits for further lines the password in it stands in the database",
        "core/store/turns.py",
        "as_json([line_of(question, new.text)])",
        "as_json([line_of(question, question.text)])",
        [],
    ),
    BrokenBuild(
        "told-under-the-name-of-who-asks",
        "what somebody else asked earlier is told anew as what was said by who asks now",
        "core/store/threads.py",
        "as_prompt(row.question, frame_of(row.frame))",
        "as_prompt(row.question, turn.frame or frame_of(row.frame))",
        [],
    ),
    BrokenBuild(
        "keys-of-all-sessions-are-one",
        "a question is taken for one of another session that has the same key",
        "web/ask.py",
        'f"{whose}\\0{session_id}\\0{key}"',
        'f"{whose}\\0{key}"',
        [],
    ),
    BrokenBuild(
        "erased-before-the-last-response-can-end",
        "a conversation is erased while a response may still be added to it, and stays at the provider",
        "core/store/threads.py",
        "pause = self._erase_after if thread.in_doubt else 0.0",
        "pause = 0.0",
        [],
    ),
    BrokenBuild(
        "the-last-part-is-forgotten",
        "whoever takes over an answer does not know the message that was posted last",
        "core/store/rows.py",
        'json.loads(row["posted"]) if row["posted"] else ()',
        'json.loads(row["posted"])[:-1] if row["posted"] else ()',
        [],
    ),
)
PAUSES = "pause,pause at a step,cut from the store"
LEASES = ("--hosts", "several", "--instances", "3", "--kinds", PAUSES)
SLOW_STORE = ("--hosts", "several", "--instances", "3", "--kinds", f"{PAUSES},store is slow", "--people", "slack=6")
IN_LINES = ("--lines", "yes", "--people", "slack=4,discord=4")
WHERE: Mapping[str, Sequence[str]] = {
    "acknowledged-before-the-commit": ("--kinds", "store fails,store is slow,kill at a step"),
    "writes-without-a-fence": LEASES,
    "calls-are-not-fenced": LEASES,
    "posts-without-a-fence": LEASES,
    "events-are-not-told-apart": (),
    "holds-are-not-renewed": ("--hosts", "several", "--instances", "2", "--kinds", "kill"),
    "threads-in-doubt-go-on": (),
    "answers-are-told-as-new": (),
    "nobody-stands-in-line": ("--hosts", "several", "--instances", "3"),
    "closed-before-shown": (),
    "the-dead-are-not-found": ("--hosts", "one"),
    "what-was-released-is-not-taken": ("--kinds", "terminate"),
    "posts-are-not-recorded": ("--kinds", "kill at a step", "--people", "slack=8"),
    "public-assistants-see-everything": (),
    "the-password-is-stored": (),
    "circles-are-one": (),
    "the-password-of-a-line-is-stored": IN_LINES,
    "told-under-the-name-of-who-asks": IN_LINES,
    "lines-of-all-people-are-one": IN_LINES,
    "lines-are-dropped": IN_LINES,
    "lines-are-told-twice": IN_LINES,
    "never-given-up": ("--poison", "yes"),
    "keys-of-all-sessions-are-one": (),
    "erased-before-the-last-response-can-end": ("--erases", "yes", "--kinds", "model,kill at a step"),
    "the-last-part-is-forgotten": (),
    "fence-checked-before-the-write": LEASES,
    "edits-are-not-heard": ("--instances", "1", "--changes", "yes", "--kinds", "", "--people", "slack=8"),
    "heartbeat-of-a-paused-process": SLOW_STORE,
}
"""In which runs each is looked for, beyond what is drawn."""
TO_FIND = [each for each in (*BUILDS, *SUBTLE) if each.name in WHERE]


def main() -> int:
    """0 if each was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulated.broken", description="Break Bob, and look.")
    parser.add_argument("names", nargs="*", metavar="name", help="; ".join(f"{each.name}" for each in TO_FIND))
    names = parser.parse_args().names
    chosen = [each for each in TO_FIND if each.name in names or not names]
    found = [is_found(each) for each in chosen]
    print(f"{len(found)} broken builds, {sum(found)} found")
    return 0 if all(found) else 1


def is_found(build: BrokenBuild) -> bool:
    """Whether a broken build fails in a simulation. What failed is printed."""
    began = perf_counter()
    with tempfile.TemporaryDirectory(prefix="bob-broken-") as name:
        folder = Path(name, "bob")
        copy_to(folder)
        file = folder / build.file
        file.write_text(build.broken(file.read_text(encoding="utf-8")), encoding="utf-8")
        command = [sys.executable, "-m", "tests.simulated", "--seed", "1", "--turns", str(TURNS), "--until-found"]
        command += ["--seconds", str(SECONDS), *WHERE[build.name]]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)}
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    kinds = sorted(set(re.findall(r"^  ! ([^:]+):", run.stdout, re.MULTILINE)))
    is_it = run.returncode == 1 and bool(kinds)
    worlds = run.stdout.count("\nseed ") + 1
    told = f"found in world {worlds}: {', '.join(kinds)}" if is_it else f"NOT FOUND {run.stderr[-300:]}"
    print(f"{build.name:42}{told}  ({perf_counter() - began:.0f} s)", flush=True)
    return is_it


if __name__ == "__main__":
    sys.exit(main())
