"""The processes that share a job's steps: who they are, what they tell each other, and which part of a step is whose.

The environment is that of torchrun (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), whoever starts the processes. Rank 0
holds the lease and speaks with the service; the others do what it does, from the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import numpy as np
import torch
import torch.distributed as dist
from bessemer.kernel.errors import DataLoss, Unavailable
from bessemer.modeling.numerics import Numerics, prepare
from torch import Tensor

from train_svc.worker.rows import Document, Row
from train_svc.worker.step import MICRO_BATCH_TOKENS, micro_batches

__all__ = ["Ranks", "agreed", "open_ranks", "share_out"]

_LOG = logging.getLogger(__name__)
_TIMEOUT = timedelta(minutes=10)  # a rank may write a checkpoint while the others wait for it
_BUCKET = 1 << 24  # numbers added up at once


@dataclass(frozen=True)
class Ranks:
    """This process among `size`; alone, nothing is sent. A group that somebody else opened is left open."""

    rank: int = 0
    size: int = 1
    is_owner: bool = True

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def tell(self, message: bytes) -> bytes:
        """Return what rank 0 says."""
        if self.size == 1:
            return message
        length = torch.tensor([len(message)])
        self._call(lambda: dist.broadcast(length, 0))
        data = torch.zeros(int(length), dtype=torch.uint8)
        if self.is_first:
            data.copy_(torch.from_numpy(np.frombuffer(message, np.uint8).copy()))
        self._call(lambda: dist.broadcast(data, 0))
        return data.numpy().tobytes()

    def share(self, message: bytes) -> list[bytes]:
        """Return what every rank says, in order."""
        if self.size == 1:
            return [message]
        lengths = [torch.zeros(1, dtype=torch.long) for _ in range(self.size)]
        self._call(lambda: dist.all_gather(lengths, torch.tensor([len(message)])))
        data = torch.zeros(max(map(int, lengths)), dtype=torch.uint8)
        data[: len(message)] = torch.from_numpy(np.frombuffer(message, np.uint8).copy())
        found = [torch.empty_like(data) for _ in range(self.size)]
        self._call(lambda: dist.all_gather(found, data))
        return [part[: int(length)].numpy().tobytes() for part, length in zip(found, lengths, strict=True)]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all ranks, many small ones in one message."""
        if self.size == 1:
            return
        cuts, filled = [0], 0
        for number, tensor in enumerate(tensors):
            filled += tensor.numel()
            if filled >= _BUCKET or number == len(tensors) - 1:
                cuts.append(number + 1)
                filled = 0
        for begin, end in pairwise(cuts):
            part = tensors[begin:end]
            flat = torch.cat([tensor.reshape(-1) for tensor in part])
            self._call(lambda flat=flat: dist.all_reduce(flat))
            for tensor, value in zip(part, flat.split_with_sizes([t.numel() for t in part]), strict=True):
                tensor.copy_(value.view_as(tensor))

    def add_up_numbers(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return sums over all ranks; their keys must be the same everywhere."""
        values = torch.tensor(list(numbers.values()), dtype=torch.float64)
        self.add_up([values])
        return dict(zip(numbers, values.tolist(), strict=True))

    def check_agreement(self, digest: bytes) -> None:
        """Compare a digest of what must be equal everywhere.

        Raises: DataLoss if a rank computed something else: memory or arithmetic of one host is at fault.
        """
        if self.size == 1:
            return
        mine = torch.from_numpy(np.frombuffer(hashlib.sha256(digest).digest(), np.uint8).copy())
        found = [torch.empty_like(mine) for _ in range(self.size)]
        self._call(lambda: dist.all_gather(found, mine))
        differing = [rank for rank, other in enumerate(found) if not torch.equal(other, found[0])]
        if differing:
            raise DataLoss(f"ranks {differing} hold other weights than rank 0; the last checkpoint is taken up again")

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1 and self.is_owner and dist.is_initialized():
            dist.destroy_process_group()

    def _call(self, communicate: object) -> None:
        try:
            communicate()  # type: ignore[operator]
        except RuntimeError as error:  # gloo raises nothing narrower
            raise Unavailable(f"rank {self.rank} lost the others: {error}", reason="WORKER_LOST") from error


def open_ranks(env: Mapping[str, str]) -> Ranks:
    """Join the group that an environment names; a group that is open already is taken as it is."""
    if int(env.get("WORLD_SIZE", "1")) == 1:
        return Ranks()
    is_owner = not dist.is_initialized()
    if is_owner:
        dist.init_process_group("gloo", timeout=_TIMEOUT)
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), is_owner)
    _LOG.info("rank %d of %d", ranks.rank, ranks.size)
    return ranks


def agreed(numerics: Numerics, threads: int, ranks: Ranks) -> Numerics:
    """Return the number format that rank 0 chose; hosts may differ in what is fastest."""
    name = ranks.tell(numerics.name.encode()).decode()
    return numerics if name == numerics.name else prepare(threads, name)


def share_out(rows: Sequence[Row], ranks: Ranks) -> list[Row]:
    """Return the micro-batches of this rank: every rank has as many, empty ones that count nothing included.

    The result is a function of rows and number of ranks alone; longest first, to whom has least.
    """
    if ranks.size == 1:
        return micro_batches(rows)
    total = sum(row.num_tokens for row in rows)
    batches = micro_batches(rows, limit=min(MICRO_BATCH_TOKENS, -(-total // ranks.size)))
    parts: list[list[int]] = [[] for _ in range(ranks.size)]
    loads = [0] * ranks.size
    for number in sorted(range(len(batches)), key=lambda n: (-batches[n].num_tokens, n)):
        to = loads.index(min(loads))
        parts[to].append(number)
        loads[to] += batches[number].num_tokens
    mine = [batches[number] for number in sorted(parts[ranks.rank])]
    first = batches[0].documents[0]
    empty = Row((Document(first.ids[:2], np.zeros(len(first.ids[:2]), np.float32)),))
    return mine + [empty] * (max(map(len, parts)) - len(mine))
