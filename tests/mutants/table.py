"""Small mistakes, as somebody may make them: what each changes, the rule it breaks, and the tests nearest to it.

Where the text stands is found by looking for it, so that nothing here has to change when code moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: the rule it breaks, a text that is once in the code, and what stands there instead.

    `tests` is the file whose tests should notice, `only` which of them, as pytest's `-k` takes it.
    """

    breaks: str
    before: str
    after: str
    tests: str
    only: str

    def file(self, root: Path) -> Path:
        """The file below `root` that it changes. Raises ValueError unless the text is there exactly once."""
        files = [file for part in ("bots", "core", "web") for file in (root / part).rglob("*.py")]
        found = [file for file in files for _ in range(file.read_text(encoding="utf-8").count(self.before))]
        if len(found) != 1:
            raise ValueError(f"{self.breaks}: what is to be changed is there {len(found)} times")
        return found[0]

    def broken(self, source: str) -> str:
        """The text of that file with the mistake in it."""
        return source.replace(self.before, self.after)


ASSISTANTS, BREAKER, BUDGET = "tests/core/test_assistants.py", "tests/core/test_breaker.py", "tests/core/test_budget.py"
ERASING, FRAMES, GUESSING = "tests/core/test_erasing.py", "tests/core/test_frames.py", "tests/core/test_guessing.py"
LEASES, LEDGER, LOOKUPS = "tests/core/test_leases.py", "tests/core/test_ledger.py", "tests/core/test_lookups.py"
MODEL, PASSWORD, PLACES = "tests/core/test_openai_model.py", "tests/core/test_password.py", "tests/core/test_places.py"
PRIVACY, SHOWN, THREADS = "tests/core/test_privacy.py", "tests/core/test_shown.py", "tests/core/test_threads.py"
BOUNDS, FAULTS = "tests/core/test_bounds.py", "tests/core/test_faults.py"
PAGES, LIMITER = "tests/bots/shared/test_pages.py", "tests/bots/shared/test_rate_limiter.py"
REPLY = "tests/bots/shared/test_reply.py"
SLACK_WORDS, DISCORD_WORDS = "tests/bots/slack/test_words.py", "tests/bots/discord/test_words.py"
SLACK_FAULTS, DISCORD_FAULTS = "tests/bots/slack/test_faults.py", "tests/bots/discord/test_faults.py"
DISCORD_GATING = "tests/bots/discord/test_gating.py"
ADDRESSES, HEADS, HOSTS = "tests/web/test_addresses.py", "tests/web/test_heads.py", "tests/web/test_hosts.py"
KEYS, RATES, SESSIONS = "tests/web/test_keys.py", "tests/web/test_rates.py", "tests/web/test_sessions.py"
RESUMING, WEB_BOUNDS = "tests/web/test_resuming.py", "tests/web/test_bounds.py"

MUTANTS = (
    # ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────
    Mutant("a PIN has six digits at least", "FEWEST_DIGITS = 6", "FEWEST_DIGITS = 5", PASSWORD, "weak_password or published"),
    Mutant("a strong password ends with its word", r'(?!{_LETTER_OR_DIGIT}))", re.DOTALL', r')", re.DOTALL', PASSWORD, "strong_password_is_no_other_word"),
    Mutant("a PIN ends with its word", "(?:{shapes})(?!{_LETTER_OR_DIGIT})", "(?:{shapes})", PASSWORD, "no_word_of_as_many"),
    Mutant("a PIN begins with its word", "(?<!{_LETTER_OR_DIGIT})(?:{shapes})", "(?:{shapes})", PASSWORD, "no_word_of_as_many"),
    Mutant("marks are not seen", 'category == "Cf" or category[0] == "M"', 'category == "Cf"', PASSWORD, "however_they_are_written"),
    Mutant("what can be guessed is not strong", "_guesses(visible) >= STRONG_GUESSES", "_guesses(visible) >= 10**6", PASSWORD, "published or weak_password"),
    Mutant("the right word is not wrong", "frozenset(found.candidates - found.right)", "frozenset(found.candidates)", PASSWORD, "each_different_word"),
    Mutant("what counted already is left unmasked", "if match[0] not in counted]", "if True]", PASSWORD, "wrong_words_that_somebody_said"),
    Mutant("what is left around a password is looked at again", "self._find(again).places, MASK", "[], MASK", PASSWORD, "what_stood_around"),
    Mutant("each two circles have different passwords", "in passwords[:index]", "in passwords[:0]", PASSWORD, "two_circles"),
    Mutant("strong passwords are masked as well", "sorted([*places, *shaped])", "sorted(shaped)", PASSWORD, "masked or what_is_masked"),
    Mutant("a symbol says something", 'category(letter)[0] in "LNS"', 'category(letter)[0] in "LN"', PASSWORD, "taken_out or kept_as_it_was or what_stands_around"),
    Mutant("a nought of any script is a digit", "if value in range(10) else letter", "if value in range(1, 10) else letter", PASSWORD, "every_script"),
    Mutant("what is right is no wrong word where it is typed", "frozenset() if opens else candidates", "candidates", PASSWORD, "what_is_typed"),
    Mutant("passwords are long at most as is said", "if len(visible) <= LONGEST and", "if", PASSWORD, "weak_password or published"),
    # ── guesses ──────────────────────────────────────────────────────────────────────────────────────────────────────
    Mutant("twenty words are read", "if candidates > most:", "if candidates >= most:", GUESSING, "twenty_different"),
    Mutant("no more than twenty words are read", "+ candidates - most", "+ candidates - most - 1", GUESSING, "up_to_the_bound"),
    Mutant("each wrong word of a text counts", "words=len(reading.wrong)", "words=1", GUESSING, "several_texts_share"),
    Mutant("words count for an hour", "guesses.c.subject == subject, guesses.c.at > self._clock.now - WINDOW_SECONDS", "guesses.c.subject == subject", GUESSING, "words_count_for_an_hour"),
    Mutant("nobody else's words count", ".where(guesses.c.subject == subject, ", ".where(", GUESSING, "nobody_uses_up"),
    Mutant("it is said when a text can be read", "max(1.0, WINDOW_SECONDS - age)", "max(1.0, age)", GUESSING, "words_count_for_an_hour or its_sender_is_told"),
    Mutant("what counts is not pruned", "guesses.c.at < self._clock.now - WINDOW_SECONDS).limit", "guesses.c.at < self._clock.now).limit", GUESSING, "forgotten_at_the_next_start"),
    Mutant("a closing is over after an hour", "lockouts.c.until > self._clock.now", "lockouts.c.until > 0", GUESSING, "a_closing_is_logged"),
    # ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────
    Mutant("an unlock is of one place", "here = (unlocks.c.person == person, unlocks.c.place == place)", "here = (unlocks.c.person == person,)", PLACES, "what_a_person_unlocked or several_people"),
    Mutant("an unlock is of one person", "here = (unlocks.c.person == person, unlocks.c.place == place)", "here = (unlocks.c.place == place,)", PLACES, "what_a_person_unlocked or several_people"),
    Mutant("an unlock lapses", '(unlocks.c.until > self._clock.now).label("is_open")', '(unlocks.c.until > 0).label("is_open")', PLACES, "it_is_unlocked_for_fifteen"),
    Mutant("to unlock again begins anew", 'set_={"assistant": assistant, "until": until}', 'set_={"assistant": assistant}', PLACES, "to_unlock_again"),
    Mutant("who unlocks anew stays unlocked", ".where(*here, unlocks.c.until <= self._clock.now)", ".where(*here)", PLACES, "who_unlocks_anew_just_when"),
    Mutant("a place is locked and no other", "sa.delete(unlocks).where(unlocks.c.person == person, unlocks.c.place == place)", "sa.delete(unlocks).where(unlocks.c.person == person)", PLACES, "to_lock_ends"),
    Mutant("the last word on an answer counts", 'set_={"good": good, "at"', 'set_={"at"', PLACES, "last_word"),
    Mutant("a control is carried out once", "sa.and_(controls.c.done.is_(False), controls.c.at", "sa.and_(controls.c.at", PLACES, "control_is_known_for_a_day or carried_out"),
    Mutant("a control is left to whoever is at it", "self._clock.now - CLAIM_SECONDS", "self._clock.now", PLACES, "left_to_whoever_is_at_it"),
    Mutant("a claim that lapsed ends nothing", "controls.c.at == claim, ", "", PLACES, "somebody_died_over or another_has_carried_out"),
    Mutant("a lapse is told for a week", "unlocks.c.until < self._clock.now - LAPSE_IS_TOLD_SECONDS", "unlocks.c.until < self._clock.now", PLACES, "lapse"),
    Mutant("controls are known on their surface", "where(controls.c.surface == surface, controls.c.event_id.in_(event_ids))", "where(controls.c.event_id.in_(event_ids))", PLACES, "events_that_became"),
    Mutant("a control is known for a day", "self._clock.now - CONTROL_IS_KNOWN_SECONDS", "self._clock.now - 3600", PLACES, "known_for_a_day"),
    # ── what people look up, and erasing ─────────────────────────────────────────────────────────────────────────────
    Mutant("a transcript begins with its first turn", "turns.c.number >= sessions.c.begins", "turns.c.number > sessions.c.begins", SESSIONS, "transcript_tells"),
    Mutant("a transcript begins at the reset", "sa.and_(kept, turns.c.number >= sessions.c.begins)", "kept", SESSIONS, "reset_session"),
    Mutant("nothing forgotten is looked up", "sa.and_(turns.c.session_id == sessions.c.id, turns.c.outcome.is_distinct_from(Outcome.FORGOTTEN))", "turns.c.session_id == sessions.c.id", SESSIONS, "deleted_is_gone or after_a_deletion"),
    Mutant("pages of a transcript do not overlap", "(turns.c.number < before,)", "(turns.c.number <= before,)", SESSIONS, "long_transcript"),
    Mutant("a page has the end of what is found", "found[-limit:]", "found[:limit]", SESSIONS, "long_transcript"),
    Mutant("pages of sessions do not overlap", "sessions.c.id < sa.select", "sessions.c.id <= sa.select", SESSIONS, "page_by_page_the_newest"),
    Mutant("the newest session comes first", "sessions.c.id.desc()", "sessions.c.id.asc()", SESSIONS, "page_by_page_the_newest"),
    Mutant("what is private is not looked up", "turns.c[name] if private else", "turns.c[name] if True else", KEYS, "private_turns_are_read"),
    Mutant("an unused session lasts a day", "sessions.c.created_at < self._clock.now - UNUSED_SECONDS", "sessions.c.created_at < self._clock.now", LOOKUPS, "not_used_within_a_day"),
    Mutant("an unused session can be found", "sa.or_(sa.and_(sessions.c.issued, sessions.c.turns == 0), one_kept.is_not(None))", "one_kept.is_not(None)", SESSIONS, "nothing_was_asked"),
    Mutant("another key's conversations are left alone", "erasures.c.scope == scope, erasures.c.due_at", "erasures.c.due_at", ERASING, "another_key_made"),
    Mutant("what is in doubt is erased later", ", erasures.c.due_at <= self._clock.now)", ")", ERASING, "in_doubt_is_erased"),
    Mutant("pauses between tries to erase double", "2.0**attempts", "1.0**attempts", ERASING, "pauses or tried_again"),
    Mutant("two do not erase one conversation", "due_at=self._clock.now + seconds, attempts=erasures", "attempts=erasures", ERASING, "do_not_both_erase"),
    Mutant("what cannot be erased is counted", "sa.or_(erasures.c.scope < scope, erasures.c.scope > scope)", "erasures.c.scope < scope", ERASING, "another_key_made or out_of_reach"),
    # ── frames and assistants ────────────────────────────────────────────────────────────────────────────────────────
    Mutant("each line that is said is quoted", 'text.splitlines() or [""]', r'text.split("\n")', FRAMES, "forge_a_frame"),
    Mutant("a name is one line", '[0] in "CZ" else', '[0] in "Z" else', FRAMES, "name_is_told_between"),
    Mutant("a speaker is masked", "{_name(mask(speaker))} wrote:", "{_name(speaker)} wrote:", FRAMES, "are_masked_in_a_frame"),
    Mutant("a title is masked", 'mask(f"{self.title}:" if self.said else self.title)', 'f"{self.title}:" if self.said else self.title', FRAMES, "are_masked_in_a_frame"),
    Mutant("who asks is masked", "Frame(mask(self.speaker), [", "Frame(self.speaker, [", FRAMES, "are_masked_in_a_frame"),
    Mutant("a name is short", ".split())[:LONGEST_NAME]", ".split())", FRAMES, "name_is_told_between"),
    Mutant("the default is public", "if not assistant.private), None)", "), None)", ASSISTANTS, "first_public"),
    Mutant("names are different", "len(self._by_name) < len(assistants)", "len(self._by_name) < 0", ASSISTANTS, "not_understood or another_kind"),
    Mutant("only a private assistant has a password", "self.private != (self.password_from is not None)", "self.private and self.password_from is None", ASSISTANTS, "not_understood"),
    Mutant("an assistants file has nothing else", "if content or not isinstance(tables, list)", "if not isinstance(tables, list)", ASSISTANTS, "another_kind or not_understood"),
    # ── the model ────────────────────────────────────────────────────────────────────────────────────────────────────
    Mutant("a success ends the failures in a row", "circuit.failures = 0", "pass", BREAKER, "in_a_row or again_and_again"),
    Mutant("the fifth failure is the last", "self.failures < FAILURES_IN_A_ROW", "self.failures <= FAILURES_IN_A_ROW", BREAKER, "fifth_failure"),
    Mutant("one cut is no failure of a model", " or now - self.failing_since < SECONDS_OF_FAILURES", "", BREAKER, "one_cut"),
    Mutant("one question at a time is the trial", "circuit.on_trial = circuit.pause > 0", "circuit.pause > 0", BREAKER, "one_trial_at_a_time"),
    Mutant("a refusal is asked about twice", "if self.in_a_row >= REFUSALS_IN_A_ROW", "if self.in_a_row > REFUSALS_IN_A_ROW", BREAKER, "operator_has_to"),
    Mutant("pauses grow", "max(self.pause * 2, FIRST_PAUSE_SECONDS)", "max(self.pause, FIRST_PAUSE_SECONDS)", BREAKER, "pauses_grow"),
    Mutant("who was let through before does not lengthen the pause", "if was_closed or self.on_trial:", "if True:", BREAKER, "let_through_before"),
    Mutant("a trial that ends says nothing of others", "if is_trial:  # also", "if False:  # also", BREAKER, "stopped_trial"),
    Mutant("only web addresses are links", 'isinstance(url, str) and url.startswith(("https://", "http://"))', "isinstance(url, str)", MODEL, "only_web_addresses"),
    Mutant("what was sent may have been written", "wrote_nothing=never_sent", "wrote_nothing=True", MODEL, "somebody_hung_up"),
    Mutant("nothing is kept beside a conversation", 'body["store"] = False', 'body["store"] = True', MODEL, "without_a_conversation"),
    Mutant("what is said can be stored", r'text.replace("\0", "").encode(', "text.encode(", MODEL, "can_always_be_stored"),
    Mutant("messages are paragraphs", "if self._parts > 1 and self._written", "if self._parts > 2 and self._written", MODEL, "several_messages"),
    Mutant("fields of OpenAI's go to OpenAI", "self._is_openai = base_url is None", "self._is_openai = True", MODEL, "only_openai_knows"),
    Mutant("tokens are never thought too few", "len(text.encode()) // 3", "len(text) // 4", BUDGET, "rather_too_high"),
    Mutant("another circle goes on with no thread of the old", "state.private == turn.private and state.circle == turn.circle", "state.private == turn.private", PRIVACY, "moved_to_another_circle"),
    Mutant("a wait that is too long is not begun", "trouble.retry_after <= LONGEST_RETRY_AFTER_SECONDS", "trouble.retry_after <= 1e9", FAULTS, "wait_that_is_too_long"),
    # ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────
    Mutant("a page of the transcript is read once", "turns.c.number < below,", "turns.c.number <= below,", THREADS, "border_of_a_page"),
    Mutant("no turn is left out between pages", "below = page[-1].number", "below = page[-1].number - 1", THREADS, "border_of_a_page"),
    Mutant("a full page is not the last", "if len(page) < PAGE:", "if len(page) <= PAGE:", THREADS, "border_of_a_page"),
    Mutant("failed turns are not told", "turns.c.outcome.in_(SYNCED_OUTCOMES),", "turns.c.outcome.is_not(None),", THREADS, "failed_turns_are_never"),
    Mutant("what is older than circles is its assistant's", "sa.and_(turns.c.circle.is_(None), turns.c.assistant == turn.assistant)", "turns.c.circle.is_(None)", PRIVACY, "before_circles"),
    Mutant("a public assistant answers no private question", "return assistant.private and turn.circle in (assistant.circle, None)", "return turn.circle in (assistant.circle, None)", PRIVACY, "moved_meanwhile"),
    Mutant("a private assistant answers no public question", "return not assistant.private", "return True", PRIVACY, "moved_meanwhile"),
    Mutant("a turn is given up at its last attempt", "self.attempts >= MOST_ATTEMPTS_IN_COMPANY", "self.attempts > MOST_ATTEMPTS_IN_COMPANY", LEDGER, "begun_too_often"),
    Mutant("an edited question starts with no attempts", '"attempts": 0, "started_at": None', '"started_at": None', SHOWN, "no_attempts"),
    Mutant("an edited question has all its time", '"attempts": 0, "started_at": None', '"attempts": 0', SHOWN, "no_attempts"),
    Mutant("what is answered is not asked anew", "turns.c.outcome.in_([Outcome.FAILED, Outcome.INTERRUPTED])", "True", LEDGER, "not_asked_anew"),
    Mutant("a key is known for a week", "self._clock.now - KEY_IS_KNOWN_SECONDS", "self._clock.now", BOUNDS, "known_for_a_week"),
    Mutant("who lost a turn shows nothing", "if not self._answering.has_lease(turn.id):", "if False:", SHOWN, "nobody_shows_what"),
    Mutant("what is unlocked and public by now does not answer", "if private is not None and private.private:", "if private is not None:", PLACES, "no_longer_private"),
    Mutant("a private assistant is not chosen for a place", "if assistant is None or assistant.private:", "if assistant is None:", PLACES, "gone_or_private"),
    Mutant("where nothing may be opened the right word counts", "reading.wrong if question.may_unlock else reading.candidates", "reading.wrong", GUESSING, "nothing_may_be_opened"),
    Mutant("a question at the bound is asked", "len(text) > self._max_characters", "len(text) >= self._max_characters", WEB_BOUNDS, "question_at_the_bound"),
    # ── lock files ───────────────────────────────────────────────────────────────────────────────────────────────────
    Mutant("we live", "if lease_owner in self._locked:", "if False:", LEASES, "holder or lease_owner or lets_go"),
    Mutant("a folder of locks is its owner's", "mkdir(mode=0o700", "mkdir(mode=0o755", LEASES, "for_their_owner_alone"),
    Mutant("a lock file is its owner's", "file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)", "file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)", LEASES, "for_their_owner_alone"),
    Mutant("who shares a folder is one host", 'return path.read_text(encoding="ascii")', "return secrets.token_hex(8)", LEASES, "share_a_folder"),
    Mutant("a new file is not removed as a dead one's", "if _is_at(path, file):  # else", "if True:  # else", LEASES, "while_others_clean_up or another_ones_file"),
    Mutant("who has gone leaves no file", "self._path(lease_owner).unlink(missing_ok=True)", "pass", LEASES, "lets_go or let_go"),
    Mutant("only what is old is looked at", "path.stat().st_mtime <= latest", "path.stat().st_mtime <= latest + 1e9", LEASES, "young_files"),
    # ── bots ─────────────────────────────────────────────────────────────────────────────────────────────────────────
    Mutant("a rate is of minutes", "per_minute / 60", "per_minute / 50", LIMITER, "long_run"),
    Mutant("no more is saved up than a burst", "min(self._burst, self._tokens + (now - self._at) * self._per_second)", "self._tokens + (now - self._at) * self._per_second", LIMITER, "no_further"),
    Mutant("a shorter pause does not end a longer", "max(self._paused_until, asyncio", "max(0.0, asyncio", LIMITER, "shorter_wait"),
    Mutant("a try does not jump the line", "self._one_by_one.locked() or self._seconds_left() > 0", "self._seconds_left() > 0", LIMITER, "a_try"),
    Mutant("a platform's pause holds", "return max(until_a_token, self._paused_until - now)", "return until_a_token", LIMITER, "platform_asked"),
    Mutant("a wait may become longer", "while (seconds := self._seconds_left()) > 0:", "if (seconds := self._seconds_left()) > 0:", LIMITER, "waits_already"),
    Mutant("a try counts", "            return False\n        self._tokens -= 1", "            return False\n        self._tokens -= 0", LIMITER, "a_try"),
    Mutant("a shorter fence is code", "closes.startswith(self.fence) and not", "not", PAGES, "shorter_or_another_fence"),
    Mutant("a fence in a table of text is none", "if self.opening and \"|\" in bare:", "if self.opening:", PAGES, "what_follows_a_table"),
    Mutant("a huge head is not repeated", "len(head) <= LONGEST_OPENING and is_table_rule(bare)", "is_table_rule(bare)", PAGES, "huge_head"),
    Mutant("a head is not cut off its rule", 'may_be_a_head = "|" in now.line_before', "may_be_a_head = False", PAGES, "tables_head_is_not_cut"),
    Mutant("a page ends at a blank line rather", "3 if not line.strip() else 2", "2 if not line.strip() else 3", PAGES, "rather_than"),
    Mutant("a page ends as late as it can", "rank >= best[0]", "rank > best[0]", PAGES, "as_late_as or rather_than"),
    Mutant("no page is too long", "excess = len(page.of(text)) - limit", "excess = len(page.of(text)) - limit - 1", PAGES, "no_page_is_too_long or cut_within"),
    Mutant("a page is cut at a space", "space + 1 if space > 0 else", "space + 1 if space > 1e9 else", PAGES, "cut_at_a_space"),
    Mutant("no pair is torn apart", r'"\ud800" <= text[cut - 1] <= "\udbff"', "False", DISCORD_WORDS, "torn"),
    Mutant("a message without a word is none", "if shown.strip()]", "if True]", REPLY, "without_a_word or nothing_is_posted_before"),
    Mutant("what was posted is recorded however that ends", "await _to_the_end(self._note(self._posted))", "await self._note(self._posted)", REPLY, "cut_off"),
    Mutant("what has not changed is not edited", "elif self._read[index] != (part, state):", "else:", REPLY, "has_not_changed"),
    Mutant("the last message is the last", "end if index == len(wanted) - 1 else State.IS_FULL", "end", REPLY, "only_the_last"),
    Mutant("what was inherited is the reader's own", "self._posted = list(posted)", "self._posted = posted", REPLY, "readers_own"),
    Mutant("an answer that could not be shown is let go", "or later\", turn.reference)\n            self._chat.release(turn)", "or later\", turn.reference)", REPLY, "could_not_be_shown_is_shown"),
    Mutant("a title fits", "if len(line) <= most else line[: most - 1]", "if len(line) <= most else line[:most]", SLACK_WORDS, "title"),
    Mutant("a lapse is told of public answers", "if turn.lapsed and not turn.private:", "if turn.lapsed:", SLACK_WORDS, "who_answers"),
    Mutant("names of files are masked before they are cut", "masked(name)[:LONGEST_NAME_OF_A_FILE]", "masked(name[:LONGEST_NAME_OF_A_FILE])", SLACK_WORDS, "names_of_files"),
    Mutant("Slackbot is nobody", "user in (bot, SLACKBOT)", "user == bot", SLACK_WORDS, "slack_itself or nobody_but"),
    Mutant("what opens with somebody else is no follow-up", "self.thread != self.ts and not self.opens_with_somebody_else", "self.thread != self.ts", SLACK_WORDS, "may_follow_up"),
    Mutant("colleagues of an organisation are no strangers", "is_shared_outside and user_team not in (team, install)", "user_team not in (team, install)", SLACK_WORDS, "stranger"),
    Mutant("what is typed is read once", '.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")', '.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")', SLACK_WORDS, "as_they_typed"),
    Mutant("everybody is called in no case", '(?:\\|([^<>\\n]*))?>?", re.IGNORECASE)', '(?:\\|([^<>\\n]*))?>?")', SLACK_WORDS, "notifies or mention_of_everybody"),
    Mutant("a half mention waits", "if not whole:", "if whole:", SLACK_WORDS, "may_become"),
    Mutant("a message is of its channel", 'f"{self.install}:{self.channel}:{self.ts}"', 'f"{self.install}:{self.ts}"', SLACK_WORDS, "different_messages"),
    Mutant("a notification is short", "line[:300]", "line", SLACK_WORDS, "notification"),
    Mutant("a message fits", "LIMIT = 2_000", "LIMIT = 2_010", DISCORD_WORDS, "fit or takes"),
    Mutant("an answer has so many messages", "if len(found) == most:", "if len(found) > most:", DISCORD_WORDS, "more_messages_than"),
    Mutant("what is long is counted in UTF-16", "wide = _wide(discord_markdown(text))", "wide = discord_markdown(text)", DISCORD_WORDS, "emoji or takes"),
    Mutant("a heading has a space", r'or not marked.startswith((" ", "\t"))', "", DISCORD_WORDS, "headings"),
    Mutant("a channel is one place with its threads", 'f"discord:{self.parent or self.channel}"', 'f"discord:{self.channel}"', DISCORD_WORDS, "channel_with_its_threads"),
    Mutant("a private question names no thread", "if turn.private or not turn.question:", "if not turn.question:", DISCORD_WORDS, "private_question"),
    Mutant("the name of a thread is masked", "words.first_line(masked(turn.question), LONGEST_TITLE)", "words.first_line(turn.question, LONGEST_TITLE)", DISCORD_WORDS, "may_be_a_password"),
    Mutant("so many messages need no file", "len(parts) > PARTS_WITHOUT_A_FILE", "len(parts) >= PARTS_WITHOUT_A_FILE", DISCORD_WORDS, "file_as_well"),
    Mutant("a channel that could not be read is tried again", "discord.DiscordException) as failure:\n            self._caught_up.discard(channel.id)", "discord.DiscordException) as failure:", DISCORD_GATING, "is_read_again"),
    # ── web ──────────────────────────────────────────────────────────────────────────────────────────────────────────
    Mutant("only proxies are believed", "if _is_in(peer, trusted):", "if True:", ADDRESSES, "no_header_is_believed"),
    Mutant("a subscriber is a network", "(address, 64)", "(address, 128)", ADDRESSES, "one_subscriber or mapped or trusted_proxies_wrote"),
    Mutant("proxies are believed from the end", "for address in reversed(forwarded) if", "for address in forwarded if", ADDRESSES, "as_far_as"),
    Mutant("a mapped address is what it is", "address.ipv4_mapped or address", "address", ADDRESSES, "mapped"),
    Mutant("an address of version 6 has colons", 'elif text.count(":") == 1:', 'elif ":" in text:', ADDRESSES, "port_or_a_zone or trusted_proxies_wrote"),
    Mutant("heads are bounded", "self._head_bytes > MOST_BYTES_OF_A_HEAD", "self._head_bytes > 10**9", HEADS, "without_an_end or too_large"),
    Mutant("bodies are no heads", "        self._end_head()\n        super().on_headers_complete()", "        super().on_headers_complete()", HEADS, "other_bounds"),
    Mutant("strange hosts are refused", "self._app if is_allowed else problem", "self._app if True else problem", HOSTS, "not_bobs"),
    Mutant("a body at the bound is taken", "int(value) > self._most", "int(value) >= self._most", WEB_BOUNDS, "body_of_a_megabyte"),
    Mutant("an open stream counts though its answer is over", "max(self.streams, int(is_written))", "int(is_written)", RATES, "though_its_answer_is_over"),
    Mutant("one stream more needs room", "+ 1 > self._at_once[subject[0]]", "> self._at_once[subject[0]]", RATES, "streams_that_are_opened"),
    Mutant("so many at once and no more", "< self._at_once[each[0]]", "<= self._at_once[each[0]]", RATES, "so_many_answers"),
    Mutant("so many streams and no more", "self._streams >= MOST_STREAMS", "self._streams > MOST_STREAMS", RATES, "too_many_open"),
    Mutant("a stream that ended makes room", "            self._streams -= 1", "            pass", RATES, "too_many_open or makes_room"),
    Mutant("what is refused uses up nothing", "if all(have_one_more):", "if is_within:", RATES, "uses_up_nothing"),
    Mutant("a publishable key counts with its addresses", "[of_key, of_address] if self.key.publishable", "[of_key] if self.key.publishable", RATES, "publishable_key_counts"),
    Mutant("who is let in while it is accepted counts", "self.is_being_accepted = answer is None", "self.is_being_accepted = False", RATES, "come_all_at_once"),
    Mutant("whoever has another text gets all of it", "prefix if prefix.id == event_id else cls()", "prefix", RESUMING, "another_text"),
    Mutant("a private turn takes a key that may", "self.is_trusted and self.may_unlock", "self.is_trusted", KEYS, "private_turns_are_read"),
    Mutant("a demoted key follows no private turn", " and (self.may_unlock or not turn.private)", "", KEYS, "demoted"),
    Mutant("a turn is of its key", "turn.session.startswith(self.namespace) and", "", KEYS, "endpoint_is_open and turn"),
    Mutant("a publishable key opens no name of its own making", "if not (self.is_trusted or issued):", "if not (self.key or issued):", KEYS, "publishable_key_opens"),
    Mutant("without a key no name of its own making is opened", "if not (self.is_trusted or issued):", "if self.key and not (self.is_trusted or issued):", SESSIONS, "own_making"),
    Mutant("a publishable key is not trusted", "return self.key is not None and not self.key.publishable", "return self.key is not None", KEYS, "publishable_key_opens"),
    Mutant("a publishable key is of its origins", "return origin in origins", "return True", KEYS, "endpoint_is_open and ask"),
    Mutant("a page of ours is of our origin", "return is_ours and request.headers", "return request.headers", KEYS, "bobs_own_origin"),
    Mutant("a revoked key is none", "keys.c.digest == digest, keys.c.revoked_at.is_(None)", "keys.c.digest == digest", KEYS, "revoked"),
    Mutant("a key can not be guessed", "SHORTEST_SECRET = 16", "SHORTEST_SECRET = 15", KEYS, "can_be_guessed"),
    Mutant("names of keys are one in capitals", "key.name.lower() == name.lower() for", "key.name == name for", KEYS, "capitals"),
)  # fmt: skip
