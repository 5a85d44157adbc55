"""The lecture's BPR-MF: its net, data set and training, line by line, faults included."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset

from neucf.data.interactions import Interactions
from neucf.data.vocabulary import Vocabulary

# The lecture's constants.
BATCH_SIZE, LR, EPOCHS_PER_DECAY, DECAY, WEIGHT_DECAY, DIM = 1024, 1e-3, 200, 0.95, 1e-6, 32


class BPR(nn.Module):
    """The lecture's net, as it stands there: log of a sigmoid, and no L2 term."""

    def __init__(self, user_size: int, item_size: int, dim: int) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(user_size, dim)
        self.item_embedding = nn.Embedding(item_size, dim)

    def forward(self, u: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        """Returns the loss of a batch of triplets, (B,) each."""
        x_ui = torch.mul(self.user_embedding(u), self.item_embedding(i)).sum(dim=1)
        x_uj = torch.mul(self.user_embedding(u), self.item_embedding(j)).sum(dim=1)
        x_uij = x_ui - x_uj
        return -torch.log(torch.sigmoid(x_uij)).mean()


class TripletUniformPair(Dataset[tuple[Any, Any, int]]):
    """The lecture's data set, as it stands there: ignores its index, and looks negatives up in a list."""

    def __init__(self, num_item: int, user_list: dict[int, list[int]], pair: npt.NDArray[np.int64]) -> None:
        self.num_item = num_item
        self.user_list = user_list
        self.pair = pair

    def __getitem__(self, idx: int) -> tuple[Any, Any, int]:
        idx = np.random.randint(len(self.pair))  # noqa: NPY002
        u = self.pair[idx][0]
        i = self.pair[idx][1]
        j = np.random.randint(self.num_item)  # noqa: NPY002
        while j in self.user_list[u]:
            j = np.random.randint(self.num_item)  # noqa: NPY002
        return u, i, j

    def __len__(self) -> int:
        return len(self.pair)


class Embeddings:
    """What the lecture's loop has learnt after some epochs, as a Recommender that `evaluate` takes."""

    def __init__(self, train: Interactions, net: BPR) -> None:
        self.user_ids: Vocabulary = train.user_ids
        self.item_ids: Vocabulary = train.item_ids
        self._users: npt.NDArray[np.float32] = net.user_embedding.weight.detach().numpy().copy()
        self._items: npt.NDArray[np.float32] = net.item_embedding.weight.detach().numpy().copy()

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> npt.NDArray[np.float32]:
        """Returns scores, shapes as in Recommender."""
        vectors = self._users[np.asarray(users)]
        if items is None:
            return np.asarray(vectors @ self._items.T)
        chosen = self._items[np.asarray(items)]
        return np.asarray(vectors @ chosen.T if chosen.ndim == 2 else np.einsum("bd,bcd->bc", vectors, chosen))


class LectureLoop:
    """The lecture's training, epoch by epoch."""

    def __init__(self, train: Interactions, seed: int) -> None:
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        self.iteration = 0
        self.net = BPR(train.num_users, train.num_items, DIM)
        for p in self.net.parameters():
            nn.init.xavier_uniform_(p)
        self.optimizer = optim.Adam(self.net.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
        self.scheduler = optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=DECAY)
        user_list: dict[int, list[int]] = {}
        pairs = np.stack([train.users, train.items], axis=1).astype(np.int64)
        for user, item in pairs.tolist():
            user_list.setdefault(user, []).append(item)
        self.dataset = TripletUniformPair(train.num_items, user_list, pairs)

    def loader(self, workers: int) -> DataLoader[tuple[Any, Any, int]]:
        """Returns the lecture's loader; memory is pinned for a GPU only, which this loop does not use."""
        return DataLoader(self.dataset, batch_size=BATCH_SIZE, num_workers=workers)

    def epoch(self, loader: DataLoader[tuple[Any, Any, int]]) -> float:
        """Runs one epoch and returns its seconds."""
        start = time.perf_counter()
        for batch in loader:
            loss = self.net(*batch)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        if self.iteration % EPOCHS_PER_DECAY == 0 and self.iteration != 0:
            self.scheduler.step()
        self.iteration += 1
        return time.perf_counter() - start
