"""Context windows: how many tokens a model takes, which is learnt from what was too long for it.

A window holds the instructions, the history, the question and the answer. It is kept by model, for the process's life,
and only ever shrinks: a server is asked again with what it refused only after a restart.
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

    def learn(self, assistant: Assistant, *, costs: int, window: int | None, alone: bool) -> bool:
        """A question of about so many tokens was too long, one without history if it stood alone.

        Whether there is room for it after all, with a shorter answer.
        """
        before = self.budget(assistant), self.fitted(assistant, costs)
        if window is not None:
            self._windows[assistant.model] = min(window, self._windows.get(assistant.model, window))
        if costs <= self.budget(assistant):  # so no window was said, or we count less than the server does
            known = self._budgets.get(assistant.model, costs)
            self._budgets[assistant.model] = min(known, costs - 1 if alone else costs // 2)
        if (budget := self.budget(assistant)) < before[0]:
            logger.warning(
                "%d tokens were too long for %s%s: from now on a question with its history may have about %d",
                costs, assistant.model, f", which takes {window}" if window is not None else "", budget,
            )  # fmt: skip
        return self.fitted(assistant, costs) != before[1]

    def _window(self, assistant: Assistant) -> int | None:
        known = [self._windows.get(assistant.model), assistant.context_window]
        return min((window for window in known if window is not None), default=None)
