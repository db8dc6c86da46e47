"""The verb control: load, unload, pin or unpin a model, for callers whose grant says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgannex_wire import WireError
from pgannex_wire.message import TEXT_FORMAT, End
from pgannex_wire.values import decode_value

from pgannex_server.request import Request, Sink
from pgannex_server.verbs.running import Running
from pgannex_server.verbs.table import block_of

if TYPE_CHECKING:
    from pgannex_server.registry import Model
    from pgannex_server.service import Service

ACTIONS = ("load", "unload", "pin", "unpin")
NAMES = ("model", "action", "state", "detail")


class Control(Running):
    """One action on one model. `load` and `pin` answer when the model is ready."""

    __slots__ = ("action", "model")

    def __init__(self, service: Service, request: Request, sink: Sink) -> None:
        if not request.caller.may("control"):
            raise WireError(
                "not_permitted",
                f"role {request.caller.role} may not control models",
                hint="ask for membership in pgml_admin",
            )
        self.action = _arg(request, "action")
        if self.action not in ACTIONS:
            raise WireError(
                "bad_argument", f'action = "{self.action}" is unknown', hint=f"known: {', '.join(ACTIONS)}"
            )
        self.model = service.registry.get(_arg(request, "model"))
        block_of(request, [], NAMES)
        Running.__init__(self, service, request, sink)
        steps: dict[str, Callable[[Model], None]] = {
            "load": self._load,
            "unload": self._unload,
            "pin": self._pin,
            "unpin": self._unpin,
        }
        steps[self.action](self.model)

    def _load(self, model: Model) -> None:
        if model.state == "ready":
            self._done("ready", "it was loaded already")
        else:
            model.load(self._loaded)

    def _loaded(self, error: WireError | None) -> None:
        if error is not None:
            self.fail(error)
        else:
            info = self.model.info
            self._done("ready", f"{info.engine} on {info.device}, {info.dtype}" if info else "")

    def _unload(self, model: Model) -> None:
        if model.pinned:
            self.fail(
                WireError(
                    "bad_argument", f'model "{model.name}" is pinned', hint="unpin it before you unload it"
                )
            )
            return
        was = model.state
        model.unload()
        self._done(model.state, "nothing was loaded" if was == "unloaded" else "the next use loads it again")

    def _pin(self, model: Model) -> None:
        model.pinned = True
        self._load(model)

    def _unpin(self, model: Model) -> None:
        model.pinned = False
        self._done(model.state, "it may be evicted")

    def _done(self, state: str, detail: str) -> None:
        if self.closed:
            return
        row = {"model": self.model.name, "action": self.action, "state": state, "detail": detail}
        self.rows_out = 1
        self.sink.rows(0, block_of(self.request, [row], NAMES), True)
        self.end(End(rows=1, model=self.model.name))

    @property
    def model_name(self) -> str:
        return self.model.name

    @property
    def state(self) -> str:
        return self.action


def _arg(request: Request, name: str) -> str:
    for arg in request.args:
        if arg.name == name and arg.value is not None:
            return str(decode_value(arg.value, arg.oid, arg.format == TEXT_FORMAT or arg.oid == 0))
    raise WireError("bad_argument", f"control needs {name}", hint=f"add {name} = …")
