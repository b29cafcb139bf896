"""What a person sees: results on standard output, progress on standard error.

Colours and moving displays appear on a terminal only; `NO_COLOR` is honoured by rich.
Lines are never wrapped or cut, so that logs can be searched.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text


class Screen:
    """The two streams of a command."""

    def __init__(self) -> None:
        self._out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        self.progress = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)

    @property
    def live(self) -> bool:
        """Whether a moving display may be drawn."""
        return self.progress.is_terminal and not self.progress.is_dumb_terminal

    def result(self, text: str, style: str = "") -> None:
        """Print one line of the answer."""
        self._out.print(Text(text, style=style))

    def note(self, text: str, style: str = "") -> None:
        """Print one line about what is going on."""
        self.progress.print(Text(text, style=style))

    def error(self, text: str) -> None:
        """Print an error."""
        self.progress.print(Text.assemble(("error: ", "bold red"), text))

    def confirm(self, question: str, answer: str) -> bool | None:
        """Ask for a word to be typed.

        Returns:
            Whether the word was typed; None where nobody can be asked.

        """
        if not sys.stdin.isatty():
            return None
        try:
            return self.progress.input(Text(question)).strip() == answer
        except EOFError:
            return False
