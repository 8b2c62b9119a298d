"""What is broken in each build, and the tests that have to notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EDITS = "test_an_edit_that_brings_the_password_to_a_waiting_question_makes_it_private_or_is_not_read"


@dataclass(frozen=True, slots=True)
class BrokenBuild:
    """A change of one file that breaks a promise, and tests of which at least one has to fail because of it."""

    name: str
    breaks: str
    file: str
    before: str
    after: str
    tests: Sequence[str]

    def broken(self, source: str) -> str:
        """The file's text with the promise broken. Raises ValueError unless there is exactly one place to break."""
        if source.count(self.before) != 1:
            raise ValueError(
                f"{self.name}: what is to be broken in {self.file} is there {source.count(self.before)} times"
            )
        return source.replace(self.before, self.after)


BUILDS = (
    BrokenBuild(
        "acknowledged-before-the-commit",
        "Slack is told that an event arrived before it is stored",
        "bots/shared/deliveries.py",
        "        await take_in()\n    except ComeAgain",
        "        taking_in = asyncio.ensure_future(take_in())\n    except ComeAgain",
        ["tests/bots/slack/test_gating.py::test_a_message_that_cannot_be_stored_is_not_acknowledged_and_answered_when_it_comes_again"],
    ),
    BrokenBuild(
        "writes-without-a-fence",
        "who lost a turn still writes to it",
        "core/store/rows.py",
        'turns.c.fencing_token == sa.bindparam("lease"), IS_OPEN',
        'sa.bindparam("lease") > 0, IS_OPEN',
        ["tests/core/test_leases.py", "-k", "paused_process_loses or taken_over_while_it_is_begun"],
    ),
    BrokenBuild(
        "posts-without-a-fence",
        "who lost a turn while it was out of touch still shows it",
        "core/chat.py",
        "        if not self._answering.has_lease(turn.id):\n            raise LeaseLost\n",
        "",
        ["tests/core/test_shown.py", "-k", "cut_off_while_another_took"],
    ),
    BrokenBuild(
        "events-are-not-told-apart",
        "an event that is delivered again is another turn",
        "core/store/turns.py",
        '"event_id": question.event_id,',
        '"event_id": question.event_id and f"{question.event_id}:{new.id}",',
        ["tests/core/test_ledger.py", "-k", "delivered"],
    ),
    BrokenBuild(
        "holds-are-not-renewed",
        "a living process loses its turns to another host once its first hold lapses",
        "core/store/liveness.py",
        ".values(expires_at=until, lock_free_since=None)",
        ".values(lock_free_since=None)",
        ["tests/core/test_leases.py", "-k", "living_process_keeps"],
    ),
    BrokenBuild(
        "threads-in-doubt-go-on",
        "a conversation that may contain the question is asked it again",
        "core/threads.py",
        "same_privacy and not state.in_doubt and state.scope",
        "same_privacy and state.scope",
        ["tests/core/test_threads.py", "-k", "crash_in_an_old_thread"],
    ),
    BrokenBuild(
        "answers-are-told-as-new",
        "an answered turn is not marked as contained in its conversation, and is told once more",
        "core/store/threads.py",
        '.values(synced=sa.bindparam("new_synced"), tokens=sa.bindparam("new_tokens"), in_doubt=False)',
        '.values(synced=sa.bindparam("new_synced") - 1, tokens=sa.bindparam("new_tokens"), in_doubt=False)',
        ["tests/core/test_threads.py", "-k", "take_turns_in_a_session"],
    ),
    BrokenBuild(
        "nobody-stands-in-line",
        "a question is asked while an earlier one of its session is open in another process",
        "core/store/threads.py",
        "        if found.waits and not found.stop:\n            return None\n",
        "",
        ["tests/core/test_shown.py", "tests/core/test_ledger.py", "-k", "next_turn"],
    ),
    BrokenBuild(
        "closed-before-shown",
        "a turn is over once its answer is stored, so nobody shows what a dead process did not",
        "core/store/turns.py",
        "closed_at=sa.case((turns.c.destination.is_(None), self._clock.now)),",
        "closed_at=self._clock.now,",
        ["tests/core/test_shown.py", "-k", "not_shown_before_a_crash"],
    ),
    BrokenBuild(
        "the-dead-are-not-found",
        "what a killed process held stays with it",
        "core/store/liveness.py",
        "return {lease_owner for lease_owner in candidates if self._files.is_dead(lease_owner) is not False}",
        "return {lease_owner for lease_owner in candidates if lease_owner not in candidates}",
        ["tests/core/test_leases.py", "-k", "killed_process_left and sqlite"],
    ),
    BrokenBuild(
        "what-was-released-is-not-taken",
        "what a leaving process lets go of is answered by nobody",
        "core/store/leases.py",
        "orphaned = sa.or_(turns.c.lease_owner.is_(None), turns.c.lease_owner.in_(expired), turns.c.id.in_(stranded))",
        "orphaned = sa.or_(turns.c.lease_owner.in_(expired), turns.c.id.in_(stranded))",
        ["tests/core/test_leases.py", "-k", "lets_go"],
    ),
    BrokenBuild(
        "posts-are-not-recorded",
        "a reclaimer does not know what was posted, and posts the answer a second time",
        "bots/shared/reply.py",
        "                await self._record()\n                self._read.append((part",
        "                self._read.append((part",
        ["tests/bots/shared/test_reply.py"],
    ),
    BrokenBuild(
        "calls-are-not-fenced",
        "a process that has lost a turn goes on writing its answer",
        "bots/shared/caller.py",
        "            await self._check_lease()\n",
        "            pass\n",
        ["tests/surfaces/test_contract.py", "-k", "lost_the_lease"],
    ),
    BrokenBuild(
        "repetitions-are-not-fenced",
        "a process that has lost a turn repeats what Discord refused for its rate",
        "bots/discord/api.py",
        "        await check_lease()\n",
        "        pass\n",
        ["tests/surfaces/test_contract.py", "-k", "lost_the_lease and discord"],
    ),
    BrokenBuild(
        "public-assistants-see-everything",
        "Bob is told what was said with Private-Bob",
        "core/store/threads.py",
        "                sa.or_(turns.c.private.is_(False), is_of_its_circle, is_of_before),\n",
        "",
        ["tests/core/test_privacy.py", "-k", "these_histories or kept_apart"],
    ),
    BrokenBuild(
        "circles-are-one",
        "a private assistant is told what was said in a circle with another password",
        "core/store/threads.py",
        'turns.c.circle == sa.bindparam("circle")',
        'sa.and_(sa.bindparam("circle", type_=sa.Text).is_not(None), turns.c.circle.is_not(None))',
        ["tests/core/test_walls.py", "-k", "these_histories and circles"],
    ),
    BrokenBuild(
        "lines-of-all-people-are-one",
        "what two people say in a row in a thread is one question, under the name of the first",
        "bots/slack/words.py",
        'line_key=f"{session if thread != ts else place}:{person}"',
        'line_key=f"{session if thread != ts else place}"',
        ["tests/bots/slack/test_lines.py", "-k", "each_persons_lines"],
    ),
    BrokenBuild(
        "lines-are-dropped",
        "of more than two lines of a question all but the first and the last are lost",
        "core/store/lines.py",
        "sorted([*lines, new], key",
        "sorted([*lines[:1], new], key",
        ["tests/bots/slack/test_lines.py", "-k", "two_processes"],
    ),
    BrokenBuild(
        "lines-are-told-twice",
        "a line that is delivered again is a question of its own, though it joined one",
        "core/store/rows.py",
        "return connection.execute(became).scalar() or connection.execute(joined).scalar()",
        "return connection.execute(became).scalar()",
        ["tests/bots/slack/test_lines.py", "-k", "said_directly"],
    ),
    BrokenBuild(
        "the-password-is-stored",
        "the password goes into the database and to the model",
        "core/store/turns.py",
        "text, chosen = reading.text, opens(reading)",
        "text, chosen = question.text, opens(reading)",
        ["tests/core/test_privacy.py", "-k", "these_histories"],
    ),
    BrokenBuild(
        "closed-texts-go-to-bob",
        "a text in which no password can be taken any more is asked of the public assistant",
        "core/store/guesses.py",
        "            return max(waits.values())\n",
        "            return Reading(said.read().text)\n",
        ["tests/bots/slack/test_passwords.py", "-k", "used_up"],
    ),
    BrokenBuild(
        "closed-edits-go-to-bob",
        "an edit that brings a password which cannot be taken any more is asked of the public assistant",
        "core/store/turns.py",
        """\
        is_read = isinstance(reading, Reading)
        text, opened = (reading.text, opens(reading)) if isinstance(reading, Reading) else ("", None)
""",
        """\
        is_read = True
        text, opened = (reading.text, opens(reading)) if isinstance(reading, Reading) else (said.read().text, None)
""",
        [f"tests/bots/slack/test_passwords.py::{EDITS}[True-True]"],
    ),
    BrokenBuild(
        "threads-are-told-unmasked",
        "a password in an earlier message of a thread is told to the public assistant",
        "core/frames.py",
        "_quoted(mask(text))",
        "_quoted(text)",
        ["tests/bots/slack/test_passwords.py", "-k", "told_with_masks_only"],
    ),
    BrokenBuild(
        "many-words-are-no-guess",
        "a text with more words than anybody may say is read like one without any",
        "core/store/guesses.py",
        "if said.candidates else 0.0",
        "if 0 < len(said.candidates) <= MOST_WRONG_WORDS else 0.0",
        ["tests/web/test_passwords.py", "-k", "close_that_text_alone"],
    ),
    BrokenBuild(
        "only-the-right-word-is-masked",
        "names of files, people and titles tell which word is the password, and nothing counts",
        "core/password.py",
        "self._shaped(visible, places) if match[0] not in counted]",
        "self._shaped(visible, places) if any(pin.is_(match[0]) for pin in self._pins)]",
        ["tests/core/test_walls.py", "-k", "attacker_learns"],
    ),
    BrokenBuild(
        "guesses-are-not-counted",
        "anybody may try all the words there are",
        "core/store/guesses.py",
        "        for name in budgets if reading.wrong else ():\n",
        "        for name in ():\n",
        ["tests/web/test_passwords.py", "-k", "is_429_with_the_sentence"],
    ),
    BrokenBuild(
        "strangers-use-up-a-budget",
        "whoever says numbers in a thread closes it for the others there",
        "core/store/guesses.py",
        'f"person:{said_by.person}" if said_by.person else f"session:',
        'f"person:{said_by.session}" if said_by.person else f"session:',
        ["tests/bots/slack/test_passwords.py", "-k", "numbers_of_a_stranger"],
    ),
    BrokenBuild(
        "names-are-found-in-any-case",
        "a key lists and reads the sessions of another whose name differs in case only",
        "core/store/names.py",
        "    return sa.and_(from_there(name, prefix, dialect), name.bool_op(below)(stem[:-1] + chr(following)))\n",
        "    return sa.func.lower(name).startswith(prefix.lower(), autoescape=True)\n",
        ["tests/core/test_lookups.py"],
    ),
    BrokenBuild(
        "never-given-up",
        "a question that kills its process is asked for ever",
        "core/store/threads.py",
        "        if turn.given_up:\n            return Begun(None, given_up=True)\n",
        "",
        ["tests/core/test_ledger.py", "-k", "begun_too_often"],
    ),
)  # fmt: skip
