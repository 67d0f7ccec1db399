"""Generate the reference of the WebSocket from its messages, its close codes and its limits."""

import importlib
import pkgutil
from types import ModuleType

from serve.bridge import access, live
from serve.bridge.live import client_messages
from serve.bridge.live.client_messages import MAX_MESSAGE_BYTES, MAX_WATCHES, Request
from serve.bridge.live.viewer import Close, Patience
from tests.reference.markdown import code, table

_FINAL = 4400


def messages() -> str:
    """Return a table of the messages that a viewer may send."""
    kinds = zip(client_messages._KEYS.items(), Request.__args__, strict=True)
    rows = [
        (code(kind), ", ".join(map(code, sorted(fields))), made.__doc__ or "")
        for (kind, fields), made in kinds
    ]
    return table(("`type`", "fields", "what it does"), rows)


def closes() -> list[Close]:
    """Return every close that the live path knows, by code."""
    values = {value for module in _modules() for value in vars(module).values() if _is_close(value)}
    return sorted(values, key=lambda close: close.code)


def _is_close(value: object) -> bool:
    return isinstance(value, Close)


def _modules() -> list[ModuleType]:
    return [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for package in (live, access)
        for module in pkgutil.iter_modules(package.__path__)
    ]


def close_codes() -> str:
    """Return a table of the close codes, their reasons and their meaning."""
    rows = [
        (str(one.code), one.reason, one.when, "yes" if one.code < _FINAL else "no")
        for one in closes()
    ]
    return table(("code", "reason", "when", "come back?"), rows)


def limits() -> str:
    """Return a table of what one viewer may use."""
    patience, budget = Patience(), client_messages.MessageBudget()
    waiting = f"{patience.waiting_messages} messages or {_size(patience.waiting_bytes)}"
    frames = f"{budget._per_second:g} a second, {budget._burst:g} at once"
    rows = [
        ("size of a message from the viewer", _size(MAX_MESSAGE_BYTES), "1009"),
        ("subscriptions", str(MAX_WATCHES), "message `error`; in the query 4400"),
        ("frames from the viewer", frames, "4029"),
        ("live frames that wait", waiting, "newer ones replace older ones"),
        ("messages that wait and must arrive", _size(patience.kept_bytes), "4008"),
        ("time in which the viewer takes nothing", f"{patience.stalled_s:g} s", "4008"),
    ]
    return table(("what", "bound", "beyond it"), rows)


def _size(count: int) -> str:
    return f"{count // 1024**2} MiB" if count >= 1024**2 else f"{count // 1024} KiB"
