"""The pipeline of one iterator: decode units ahead, gather blocks, hand out batches.

::

    pool of threads    decode units (decompress, cut, check, fill)         several at a time,
                                                                           or one together
    one thread         follow the schedule: wait for units, gather a block     a few blocks ahead
    the consumer       slices of the block; errors of the threads appear here

Timing decides how far ahead the threads are, never what is in a batch.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from rootml._internal.helping import HelpingPool
from rootml.batching.inputs._batch import Batch
from rootml.batching.inputs._layout import Layout
from rootml.batching.order._schedule import Block, Schedule
from rootml.batching.rows._stores import Store
from rootml.batching.rows._timing import Timing
from rootml.batching.rows._watchdog import Watchdog
from rootml.storage.remote import stop_retries_when

THREAD_NAME = "rootml-batching"
_LOOK_AHEAD = 64
_QUEUE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


class Pipeline:
    """Makes the batches of one schedule in the background.

    Args:
        make_store: Makes the store, given the threads to decode in.
        helping: Whether idle threads help to decode a unit; not where they wait for a server.
        skip: Batches at the start of the schedule that were delivered earlier.
    """

    def __init__(
        self,
        layout: Layout,
        schedule: Schedule,
        make_store: Callable[[Executor], Store],
        *,
        threads: int,
        timing: Timing,
        helping: bool = True,
        skip: int = 0,
        block_rows: int,
        transform: Callable[[Batch, int], Batch] | None = None,
        stall_seconds: float | None = None,
    ) -> None:
        self._layout = layout
        self._schedule = schedule
        self._stop = threading.Event()
        self._pool = HelpingPool(
            threads,
            helping=helping,
            thread_name_prefix=THREAD_NAME,
            initializer=stop_retries_when,  # closing does not wait for a server that is gone
            initargs=(self._stop,),
        )
        self._store = make_store(self._pool)
        self._timing = timing
        self._skip = skip
        self._transform = transform
        self._number = skip
        self._waits_for: int | None = None
        self._watchdog = Watchdog(stall_seconds, threads=THREAD_NAME)
        size = max(1, block_rows * max(1, layout.row_bytes))
        self._queue: queue.Queue[Sequence[Batch] | _Failed | None] = queue.Queue(
            max(1, min(4, _QUEUE_BYTES // size))
        )
        self._thread = threading.Thread(target=self._produce, name=THREAD_NAME, daemon=True)

    def batches(self) -> Iterator[Batch]:
        """The batches; closing the generator stops the threads and waits for them."""
        self._thread.start()
        try:
            while True:
                with self._timing("wait"):
                    item = self._next()
                if item is None:
                    return
                if isinstance(item, _Failed):
                    raise item.error
                for batch in item:
                    self._timing.count(batch.num_rows)
                    yield batch
        finally:
            self.close()

    def close(self) -> None:
        """Stop the threads; what they were doing is thrown away."""
        self._stop.set()
        while True:  # a producer that waits for room in the queue must see the event
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        # The garbage collector may close us from one of our own threads, which cannot join itself.
        wait = not threading.current_thread().name.startswith(THREAD_NAME)
        self._pool.shutdown(wait=wait, cancel_futures=True)
        if wait:
            if self._thread.ident is not None:
                self._thread.join()
            self._store.close()

    def _produce(self) -> None:
        try:
            for block, skip in self._blocks():
                if self._stop.is_set():
                    return
                if skip < len(block.sizes):
                    self._put(self._fill(block, skip))
                for piece in block.finished:
                    self._store.release(piece)
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the consumer is
            if not self._stop.is_set():
                self._put(_Failed(error))

    def _next(self) -> Sequence[Batch] | _Failed | None:
        with self._watchdog.waiting(self._describe) as patience:
            while True:
                try:
                    return self._queue.get(timeout=patience.timeout)
                except queue.Empty:
                    patience.check()

    def _describe(self) -> str:
        """What the loop over batches waits for."""
        done = f"{self._timing.batches} batches were delivered"
        if self._waits_for is None:
            return f"{done}; the next block is being made"
        return f"{done}; waiting for {self._store.describe(self._waits_for)}"

    def _fill(self, block: Block, skip: int) -> list[Batch]:
        with self._timing("gather"):
            dense, ragged = self._store.gather(block)
        ends = list(itertools.accumulate(block.sizes))
        batches = [
            self._layout.batch(dense, ragged, end - size, end)
            for size, end in zip(block.sizes[skip:], ends[skip:], strict=True)
        ]
        if self._transform is not None:
            with self._timing("transform"):
                batches = [
                    self._transform(batch, number)
                    for number, batch in enumerate(batches, self._number)
                ]
        self._number += len(batches)
        return batches

    def _blocks(self) -> Iterator[tuple[Block, int]]:
        """Blocks whose pieces are loaded, and how many of their batches to leave out.

        Pieces are loaded strictly in the order in which the schedule first uses them. So there is
        always room for a piece when it is needed, however far ahead loading is.
        """
        ahead: deque[tuple[Block, int]] = deque()
        waiting: deque[int] = deque()
        known: set[int] = set()
        blocks = self._rest_of_schedule()
        while True:
            while len(ahead) < _LOOK_AHEAD and len(waiting) < _LOOK_AHEAD:
                following = next(blocks, None)
                if following is None:
                    break
                ahead.append(following)
                new = [t.piece for t in following[0].takes if t.piece not in known]
                known.update(new)
                waiting.extend(new)
                self._submit_what_fits(waiting)  # the first pieces before the last block is known
            if not ahead:
                return
            block, skip = ahead.popleft()
            self._load(block, waiting)
            yield block, skip
            known.difference_update(block.finished)

    def _rest_of_schedule(self) -> Iterator[tuple[Block, int]]:
        skip = self._skip
        for block in self._schedule.blocks():
            if skip >= len(block.sizes):
                skip -= len(block.sizes)
                continue
            yield block, skip
            skip = 0

    def _load(self, block: Block, waiting: deque[int]) -> None:
        needed = {take.piece for take in block.takes}.intersection(waiting)
        while needed:
            needed.discard(waiting[0])
            self._store.submit(waiting.popleft())
        self._submit_what_fits(waiting)
        self._store.prepare(waiting)
        with self._timing("decode (waited for)"):
            for take in block.takes:
                self._waits_for = take.piece
                self._store.wait(take.piece)
            self._waits_for = None

    def _submit_what_fits(self, waiting: deque[int]) -> None:
        while waiting and self._store.has_empty_like(waiting[0]):
            self._store.submit(waiting.popleft())

    def _put(self, item: Sequence[Batch] | _Failed | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return
