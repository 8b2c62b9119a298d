"""The one place where parts are chosen and joined."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from typing import Any

from dotenv import dotenv_values

from core.api_keys import ApiKeys, configured_keys
from core.assistants import Assistant, Assistants
from core.chat import Chat
from core.errors import StoreUnavailable
from core.identities import Identities
from core.language_model import LanguageModel, ModelTrouble
from core.metrics import Metrics
from core.offline_model import OfflineModel
from core.password import Password, Passwords
from core.settings import ENV_FILE, PRIVATE_BOB_PASSWORD, Settings, env_file_encoding
from core.store import Store
from core.threads import Threads
from core.traces import tracing
from core.transcription import Transcription

logger = logging.getLogger(__name__)

CHECK_SECONDS = 10.0


@contextlib.asynccontextmanager
async def open_chat(settings: Settings) -> AsyncIterator[Chat]:
    """A chat over the database, the assistants and the language model that the settings name.

    Raises StartError where it cannot begin. On the way out running turns may end for `drain_seconds`; what is left goes
    to other processes.
    """
    assistants = load_assistants(settings)
    passwords = load_passwords(settings, assistants)
    configured = configured_keys(settings.api_keys.get_secret_value())
    metrics = Metrics()
    chats: list[Chat] = []  # one, once the store is open that it needs

    def on_notification(message: str) -> None:
        for chat in chats:
            chat.handle_notification(message)

    async with contextlib.AsyncExitStack() as stack:
        traces = await stack.enter_async_context(tracing(settings.traces, settings.traces_share))
        model = language_model_of(settings)
        stack.push_async_callback(model.close)
        store = await stack.enter_async_context(_store_of(settings, on_notification, metrics))
        threads = Threads(
            store, model, local=settings.threads == "local", deadline=settings.turn_deadline_seconds, metrics=metrics
        )
        threads.windows.announce(assistants)
        await _tell_of_conversations_out_of_reach(threads)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        keys = ApiKeys(store, configured)
        chat = Chat(
            store=store,
            threads=threads,
            assistants=assistants,
            passwords=passwords,
            keys=keys,
            identities=Identities(store, keys, settings.identity_secret.get_secret_value()),
            tasks=tasks,
            max_question_characters=settings.max_question_characters,
            max_at_once=settings.max_turns_at_once,
            max_at_once_of_a_person=settings.max_turns_at_once_of_a_person,
            max_waiting=settings.max_turns_waiting,
            file_limits=settings.file_limits,
            retention=settings.retention,
            transcription=_transcription(settings, model, assistants),
            metrics=metrics,
            traces=traces,
        )
        chats.append(chat)
        chores = [tasks.create_task(chore) for chore in _chores(chat, threads, assistants, settings)]
        try:
            yield chat
            await chat.drain(settings.drain_seconds)
        finally:
            for chore in chores:
                chore.cancel()
            await chat.stories.write_the_rest()


def _chores(
    chat: Chat, threads: Threads, assistants: Assistants, settings: Settings
) -> Sequence[Coroutine[Any, Any, None]]:
    """What is done beside the turns, until the end."""
    return [
        chat.keep_heartbeat(), chat.keep_pruning(), chat.keep_forgetting(), threads.keep_erasing(),
        chat.stories.keep_writing(), _check_models(threads, assistants, settings),
        _look_up_windows(threads, assistants),
    ]  # fmt: skip


def _store_of(
    settings: Settings, on_notification: Callable[[str], None], metrics: Metrics
) -> contextlib.AbstractAsyncContextManager[Store]:
    return Store.open(
        settings.database_url.get_secret_value(),
        on_notification=on_notification,
        lease_seconds=settings.lease_seconds,
        erase_after=settings.turn_deadline_seconds,
        kept=settings.kept_events,
        metrics=metrics,
    )


async def _tell_of_conversations_out_of_reach(threads: Threads) -> None:
    with contextlib.suppress(StoreUnavailable):  # it is for the log only
        if (lost := await threads.out_of_reach()) > 0:
            known = "their key or server is not set any more"
            logger.warning("%d retired conversations are out of reach: %s", lost, known)


def language_model_of(settings: Settings) -> LanguageModel:
    """Who answers with these settings. Raises StartError where the environment names no usable way there."""
    if settings.offline:
        return OfflineModel()
    with _hidden("OPENAI_"):
        from core.openai_model import OpenAIModel  # its libraries take longer to import than all else here

        return OpenAIModel(
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=settings.openai_base_url or None,
            silence_seconds=settings.model_silence_seconds,
            first_token_seconds=settings.model_first_token_seconds,
            api=settings.openai_api or ("responses" if settings.threads == "conversations" else ""),
        )


def _transcription(settings: Settings, model: LanguageModel, assistants: Assistants) -> Transcription:
    name = settings.transcription_model if settings.transcribes else ""
    return Transcription(model, name, [each.name for each in assistants])


async def _check_models(threads: Threads, assistants: Assistants, settings: Settings) -> None:
    """Ask each model of the assistants for a word, and tell the operator what is wrong and what cures it."""
    if settings.offline:
        return
    from core.openai_model.advice import advice_on

    for assistant in unique_models(assistants):
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await threads.check_model(assistant)
        except TimeoutError:
            logger.warning(
                "The model %s has said nothing for %d seconds; it may still be loading. Questions wait longer.",
                assistant.model, CHECK_SECONDS,
            )  # fmt: skip
        except ModelTrouble as trouble:
            logger.error(
                "The language model does not answer: %s (%s)",
                advice_on(trouble, settings, assistant.model),
                trouble.cause,
            )
            if trouble.handling.blames != "model":  # then the next one will say the same
                return
        except Exception:  # of a mere look, which must end nothing else
            logger.exception("the language model could not be checked")
            return


def unique_models(assistants: Assistants) -> Collection[Assistant]:
    """An assistant of each model, the default one's first."""
    models: dict[str, Assistant] = {}
    for each in (assistants.default, *assistants):
        models.setdefault(each.model, each)
    return models.values()


async def _look_up_windows(threads: Threads, assistants: Assistants) -> None:
    try:
        await threads.look_up_windows(assistants)
    except Exception:  # as above
        logger.exception("the context windows of the models could not be looked up")


@contextlib.contextmanager
def _hidden(prefix: str) -> Iterator[None]:
    """Without the environment's variables of this prefix.

    The SDK would read them behind our settings: an address, though it is empty; an organization and headers to send
    along; a level of logs.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.upper().startswith(prefix)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def load_assistants(settings: Settings) -> Assistants:
    """The assistants of ASSISTANTS_FILE, or those that Bob brings along. Raises AssistantsFileError."""
    return Assistants.load(settings.assistants_file, model=settings.openai_model)


def load_passwords(settings: Settings, assistants: Assistants) -> Passwords:
    """The password of each circle that has one set; it opens the first assistant of its circle. Raises WeakPassword."""
    environment = {**dotenv_values(ENV_FILE, encoding=env_file_encoding()), **os.environ}
    circles = {each.circle: each.name for each in reversed(list(assistants)) if each.circle is not None}
    found: list[Password] = []
    for variable, opens in reversed(circles.items()):
        if variable == PRIVATE_BOB_PASSWORD:
            secret = settings.private_bob_password.get_secret_value()
        else:
            secret = environment.get(variable) or ""
        if secret.strip():
            found.append(Password(secret, opens, name=variable))
    return Passwords(found)
