"""Context windows: how many tokens a model takes, which is learnt from what was too long for it.

A window holds the instructions, the history, the question and the answer. It is kept by model, for the process's life,
and only ever shrinks: what a server refused it is told again only after a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from core.assistants import Assistant

logger = logging.getLogger(__name__)

LEAST_BUDGET = 250
LEAST_OUTPUT = 16


class Windows:
    """What each model takes, as far as it is known."""

    def __init__(self) -> None:
        self._windows: dict[str, int] = {}
        self._budgets: dict[str, int] = {}  # of models that refused less than they say that they take

    def announce(self, assistants: Iterable[Assistant]) -> None:
        """Say which windows are known before anything is asked."""
        for assistant in assistants:
            if assistant.context_window is not None:
                logger.info(
                    "%s: %d tokens fit into the window of %s, so a question with its history may have %d",
                    assistant.name, assistant.context_window, assistant.model, self.budget(assistant),
                )  # fmt: skip

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
            self._windows[assistant.model] = window
            self._tell(assistant, f"it takes {window} tokens")

    def keep(self, assistant: Assistant, budget: int) -> None:
        """Take in that questions of more tokens were too long, and one of no more was not."""
        if budget < self.budget(assistant):
            self._budgets[assistant.model] = budget
            self._tell(assistant, "it refused more")

    def _tell(self, assistant: Assistant, why: str) -> None:
        logger.warning(
            "from now on a question to %s may have about %d tokens with its history, since %s (an assistant may say "
            "how many with context_window)",
            assistant.model, self.budget(assistant), why,
        )  # fmt: skip

    def _window(self, assistant: Assistant) -> int | None:
        known = [self._windows.get(assistant.model), assistant.context_window]
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
        return not alone

    def has_fitted(self) -> None:
        """It was answered. Only then the history was what was too long, and less of it is sent from now on."""
        if self.budget is not None:
            self._windows.keep(self._assistant, self.budget)
