"""What takes long runs beside the rounds: quotes and documents."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Beside:
    """Tasks by name; each is started in one round and taken in a later one."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def made(self, name: str, make: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any] | None:
        """Starts it, and returns it once it is done."""
        task = self._tasks.get(name)
        if task is None:
            self._tasks[name] = asyncio.create_task(make())
            return None
        return self._tasks.pop(name) if task.done() else None

    @property
    def running(self) -> list[str]:
        """What is in the making: not what is done and waits for its round."""
        return [name for name, task in self._tasks.items() if not task.done()]

    async def close(self) -> None:
        """Gives up what is in hand."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
