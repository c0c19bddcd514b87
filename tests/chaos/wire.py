"""A wire between two processes that can be cut, stalled, shut, and whose answers can be halved."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

CHUNK_BYTES = 1 << 16
PATIENCE_S = 30.0

#: A path of a local socket, or a port of this machine.
Place = Path | int


class Wire:
    """Carries bytes both ways between whoever connects to ``place`` and ``there``, for as long as the context lasts.

    It runs on a thread of its own; each method may be called from any other and has taken effect when it returns.
    """

    def __init__(self, there: Place, here: Path | None = None) -> None:
        """Choose the other end. It is reached by a local socket at ``here``, else by a port that is free."""
        self._there, self._here = there, here
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._is_shut = False
        self._halves = 0
        self.place: Place = 0
        self.halved = self.cuts = 0

    def __enter__(self) -> Self:
        """Open it."""
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(PATIENCE_S)
        self.place = self._here or int(server.sockets[0].getsockname()[1])
        self._server = server
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut and close it."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    # --- what can be done to it ---------------------------------------------------------------

    def cut(self) -> None:
        """Cut every connection that stands. New ones are taken."""
        self._do(self._cut)

    def stall(self, *, is_on: bool) -> None:
        """Carry nothing any more, or go on with everything that was held back."""
        self._do(self._flows.clear if is_on else self._flows.set)

    def shut(self, *, is_on: bool) -> None:
        """Cut every connection and take no new one, or take them again."""

        def turn() -> None:
            self._is_shut = is_on
            if is_on:
                self._cut()

        self._do(turn)

    def halve(self) -> None:
        """Carry half of the next piece that comes from the other end, then cut that connection."""

        def once_more() -> None:
            self._halves += 1

        self._do(once_more)

    def heal(self) -> None:
        """Be a wire like any other again. What was cut stays cut."""

        def mend() -> None:
            self._is_shut, self._halves = False, 0
            self._flows.set()

        self._do(mend)

    # --- inside -------------------------------------------------------------------------------

    def _do(self, deed: Callable[[], object]) -> None:
        async def done() -> None:
            deed()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(PATIENCE_S)

    async def _open(self) -> asyncio.Server:
        self._flows.set()
        if self._here is not None:
            return await asyncio.start_unix_server(self._serve, self._here)
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        self._flows.set()
        self._is_shut = True
        self._cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
            self.cuts += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_shut:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        self._tasks.add(task)
        self._writers.add(writer)
        with suppress(OSError):
            back, forth = await self._reach()
            self._writers.add(forth)
            await asyncio.gather(self._carry(reader, forth, is_answer=False), self._carry(back, writer, is_answer=True))
            self._writers.discard(forth)
        writer.transport.abort()
        self._writers.discard(writer)
        self._tasks.discard(task)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._there, Path):
            return await asyncio.open_unix_connection(self._there)
        return await asyncio.open_connection("127.0.0.1", self._there)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        """Carry one way until either side hangs up; then the other side is hung up on too."""
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._flows.wait()
                if is_answer and self._halves:
                    self._halves -= 1
                    self.halved += 1
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    break
                writer.write(data)
                await writer.drain()
        if writer.can_write_eof() and not writer.is_closing():
            writer.close()
