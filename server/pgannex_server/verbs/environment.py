"""The verb environment: what the Python is that trains and predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgannex_server.request import Request
from pgannex_server.verbs.predict_plan import args_by_name, required, text_of
from pgannex_server.verbs.question import Question
from pgannex_server.verbs.table import Row


class Environment(Question):
    """One row per line of the answer."""

    __slots__ = ()
    names = ("answer",)

    def arguments(self, request: Request) -> dict[str, Any]:
        args = args_by_name(request, ("question", "argument"))
        question = required(args, "question", "environment")
        return {"question": question, "argument": text_of(args.get("argument"))}

    def rows(self, answer: Any) -> Sequence[Row]:
        return [{"answer": line} for line in answer]
