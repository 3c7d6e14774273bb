"""The SDK, as far as this is about it: operators that answer, and an orchestrator through which their messages pass.

It knows no database. In a project it would be a distribution of its own, and only who asks for ``save_messages=True`` would need
the one with the database, which is imported then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tool:
    name: str


@dataclass(frozen=True)
class Client:
    """Which language model is asked."""

    model: str
    temperature: float = 0.0


@dataclass(frozen=True)
class Message:
    sender: str
    content: str


@dataclass(frozen=True)
class Operator:
    """One member of a team."""

    name: str
    instructions: str
    clients: list[Client] = field(default_factory=list)

    def answer(self, question: str) -> Message:
        """Where a language model would be asked, its client is named."""
        models = " and ".join(client.model for client in self.clients) or "nobody"
        return Message(self.name, f"{self.instructions} {question} (asked: {models})")


@dataclass(frozen=True)
class SoftwareOrchestrator:
    """A team. ``save_messages=True`` stores each message that passes, with the team itself."""

    title: str
    operators: list[Operator] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    save_messages: bool = field(default=False, kw_only=True, compare=False)

    def run(self, prompt: str) -> Iterator[Message]:
        """Each operator answers the one before; the first answers the prompt."""
        messages = self._answers(prompt)
        if not self.save_messages:
            return messages
        from .recorder import record

        return record(self, prompt, messages)

    def _answers(self, question: str) -> Iterator[Message]:
        for operator in self.operators:
            message = operator.answer(question)
            yield message
            question = message.content
