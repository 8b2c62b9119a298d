"""Context windows: how many tokens a model takes, which its server may tell, or what was too long for it.

A window holds the instructions, the history, the question and the answer. It is kept by model, for the process's life.
What a list of models tells counts where an assistant names none. What a server refused counts in any case, only ever
shrinks, and is told to it again only after a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from core.assistants import Assistant

logger = logging.getLogger(__name__)

LEAST_BUDGET = 250
LEAST_OUTPUT = 16


class Windows:
    """What each model takes, as far as it is known."""

    def __init__(self) -> None:
        self._listed: Mapping[str, int] = {}
        self._windows: dict[str, int] = {}  # by errors
        self._budgets: dict[str, int] = {}  # of models that refused less than they say that they take
        self._unsaid: dict[str, tuple[int, str]] = {}  # by model: the budget before, and why there is another

    def announce(self, assistants: Iterable[Assistant]) -> None:
        """Say which windows are named before anything is asked."""
        for assistant in assistants:
            if assistant.context_window is not None:
                self._say_window(assistant, assistant.context_window)

    def take_listed(self, windows: Mapping[str, int], assistants: Iterable[Assistant]) -> None:
        """Take in what the server tells of its models, and say it of those whose window nobody has named."""
        self._listed = windows
        for assistant in assistants:
            if assistant.context_window is None and (window := windows.get(assistant.model)) is not None:
                self._say_window(assistant, window)

    def budget(self, assistant: Assistant) -> int:
        """How many tokens a question to this assistant may send at most, with everything that goes before it."""
        budget = min(assistant.token_budget, self._budgets.get(assistant.model, assistant.token_budget))
        if (window := self._window(assistant)) is not None:
            most_output = window // 4
            budget = min(budget, window - min(assistant.max_output_tokens or most_output, most_output))
        return max(budget, LEAST_BUDGET)

    def fitted(self, assistant: Assistant, costs: int) -> Assistant:
        """The assistant with answers for which a question of so many tokens leaves room."""
        window = self._window(assistant)
        if window is None or assistant.max_output_tokens is None:
            return assistant
        room = max(window - costs, window // 8, LEAST_OUTPUT)
        if assistant.max_output_tokens <= room:
            return assistant
        return assistant.model_copy(update={"max_output_tokens": room})

    def learn(self, assistant: Assistant, window: int | None) -> None:
        """Take in how many tokens the model says that it takes, if it does."""
        known = self._windows.get(assistant.model)
        if window is not None and (known is None or window < known):
            before = self.budget(assistant)
            self._windows[assistant.model] = window
            self._note(assistant, before, f"it takes {window} tokens")

    def keep(self, assistant: Assistant, budget: int) -> None:
        """Take in that questions of more tokens were too long, and one of no more was not.

        A window that is told is not far from the truth, so what contradicts it halves it at most.
        """
        before = self.budget(assistant)
        if self._window(assistant) is not None:
            budget = max(budget, before // 2)
        if budget < before:
            self._budgets[assistant.model] = budget
            self._note(assistant, before, "it refused more")

    def say_what_changed(self, assistant: Assistant) -> None:
        """Tell operators once what was learnt of a model, now that a question has come to its end."""
        if (learnt := self._unsaid.pop(assistant.model, None)) is not None:
            before, why = learnt
            logger.warning(
                "from now on a question to %s may have about %d tokens with its history, not %d, since %s (an "
                "assistant may say how many with context_window)",
                assistant.model, self.budget(assistant), before, why,
            )  # fmt: skip

    def _note(self, assistant: Assistant, before: int, why: str) -> None:
        before, _ = self._unsaid.get(assistant.model, (before, ""))
        if self.budget(assistant) < before:
            self._unsaid[assistant.model] = before, why

    def _say_window(self, assistant: Assistant, window: int) -> None:
        logger.info(
            "%s: %d tokens fit into the window of %s, so a question with its history may have %d",
            assistant.name, window, assistant.model, self.budget(assistant),
        )  # fmt: skip

    def _window(self, assistant: Assistant) -> int | None:
        told = self._listed.get(assistant.model) if assistant.context_window is None else assistant.context_window
        known = [self._windows.get(assistant.model), told]
        return min((window for window in known if window is not None), default=None)


class Fitting:
    """How the question of one turn is made to fit: it is asked with less history, and with a shorter answer."""

    def __init__(self, windows: Windows, assistant: Assistant) -> None:
        self._windows = windows
        self._assistant = assistant
        self.budget: int | None = None  # of the next try, where it is less than usual

    def assistant(self, costs: int) -> Assistant:
        """The assistant for a question of so many tokens."""
        return self._windows.fitted(self._assistant, costs)

    def may_fit_after(self, costs: int, *, window: int | None, alone: bool) -> bool:
        """Take in that about so many tokens were too long, without history if it was `alone`. Whether to try again."""
        before = self.assistant(costs)
        self._windows.learn(self._assistant, window)
        if self.assistant(costs) != before:
            return True
        if not alone:
            usual = self._windows.budget(self._assistant)
            self.budget = usual if usual < costs else max(costs // 2, LEAST_BUDGET)
        else:
            self._windows.say_what_changed(self._assistant)
        return not alone

    def has_fitted(self) -> None:
        """It was answered. Only then the history was what was too long, and less of it is sent from now on."""
        if self.budget is not None:
            self._windows.keep(self._assistant, self.budget)
        self._windows.say_what_changed(self._assistant)
