"""Build objects that an attacker would put into a file of weights."""

from collections.abc import Callable
from typing import Any


class Malicious:
    """An object whose pickle calls a function when it is loaded.

    Args:
        call: the function, such as ``os.mkdir``.
        args: its arguments.
    """

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.args
