"""The engine of implicit alternating least squares: an epoch solves for all users, then for all items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from neucf.data.interactions import Interactions
from neucf.errors import TrainingError
from neucf.kernels.als import solve
from neucf.kernels.compile import COMPILED, spread, torch_threads
from neucf.training.engines import State

Floats: TypeAlias = npt.NDArray[np.float32]
# Blocks of rows are the same for any number of threads, and so is every sum over them.
_GRAM_BLOCKS, _SOLVE_BLOCKS = 16, 256
# What a row costs beside its positives, in positives.
_ROW_COST = 16


@dataclass(frozen=True, slots=True)
class Side:
    """The positives of one side's R rows, users or items.

    Attributes:
        factors: (R, D) what is learnt.
        indptr: (R+1,) int64 where each row's positives start.
        indices: (nnz,) int32 their rows on the other side.
        weights: (nnz,) float32 confidence.
        reg: (R,) float32 L2 strength.
    """

    factors: Floats
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    weights: Floats
    reg: Floats


class AlsEngine:
    """Minimises the iALS objective, over user factors p and item factors q, S the positives, w their weights (1).

        sum_S w (1 - <p_u, q_i>)^2 + alpha0 sum_{all u, i} <p_u, q_i>^2
            + reg (sum_u (n_u + alpha0 I)^nu |p_u|^2 + sum_i (n_i + alpha0 U)^nu |q_i|^2),

    n being sums of weights (Hu et al. 2008, in the form of Rendle et al. 2021, equations 2 to 4). Each half step first
    turns both tables, which changes no score, into the basis in which the Gram matrix of the fixed side is diagonal.
    Every row's normal equations are then nearly diagonal, and few conjugate gradient steps solve them.

    Rows are solved independently and sums are taken in a fixed order: the result does not depend on `threads`.

    Args:
        train: The training interactions.
        dim: D.
        reg: L2 strength.
        alpha0: Weight of every pair, observed or not.
        nu: Exponent of the frequency that scales the L2 strength.
        init_std: Deviation of the initial item factors, times sqrt(D); users start at 0.
        cg_steps: Conjugate gradient steps a row and half step.
        seed: Draws the initial item factors.
        threads: Threads that share the rows.
    """

    name = "compiled-als" if COMPILED else "numpy-als"

    def __init__(
        self,
        train: Interactions,
        *,
        dim: int,
        reg: float,
        alpha0: float,
        nu: float,
        init_std: float,
        cg_steps: int,
        seed: int,
        threads: int,
    ) -> None:
        self.alpha0, self.cg_steps, self.threads = alpha0, cg_steps, threads
        self.num_positives = len(train)
        draws = np.random.default_rng(seed).standard_normal((train.num_items, dim), np.float32)
        users, items = np.zeros((train.num_users, dim), np.float32), draws * np.float32(init_std / np.sqrt(dim))
        by_user = train.csr()
        by_item = by_user.tocsc()

        def side(matrix: Any, factors: Floats, others: int) -> Side:
            indptr, weights = matrix.indptr.astype(np.int64), matrix.data
            strength = frequency_scaled(reg, row_sums(indptr, weights), others, alpha0, nu)
            return Side(factors, indptr, matrix.indices.astype(np.int32), weights, strength)

        self.users, self.items = side(by_user, users, train.num_items), side(by_item, items, train.num_users)

    @property
    def samples_per_epoch(self) -> int:
        """Positives."""
        return self.num_positives

    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Solves for users, then for items; returns the objective, penalties included, a positive."""
        del lr
        objective = 0.0
        for solved in ("users", "items"):
            objective = self.half_step(solved)
            if not np.isfinite(objective):
                raise TrainingError(
                    f"The objective is not finite at epoch {epoch}, solving for {solved}; the last good factors are "
                    "kept. Raise `reg`, or lower the largest weights."
                )
        return objective / max(self.num_positives, 1)

    def half_step(self, solved: Literal["users", "items"]) -> float:
        """Solves for one side, the other fixed; returns the objective then."""
        moving, fixed = (self.users, self.items) if solved == "users" else (self.items, self.users)
        shared = self.diagonalise("items" if solved == "users" else "users")

        def run(rows: slice) -> float:
            return float(
                solve(
                    rows.start, rows.stop, moving.indptr, moving.indices, moving.weights, fixed.factors, shared,
                    moving.reg, moving.factors, self.cg_steps,
                )
            )  # fmt: skip

        costs = np.diff(moving.indptr) + _ROW_COST
        objective = sum(spread(run, row_blocks(costs, _SOLVE_BLOCKS), self.threads))
        lengths = np.einsum("rd,rd->r", fixed.factors, fixed.factors)
        return objective + float(fixed.reg @ lengths.astype(np.float64))

    def diagonalise(self, side: Literal["users", "items"]) -> Floats:
        """Turns both tables so that the Gram matrix of one is diagonal; returns alpha0 times the diagonal (D,)."""
        tables = [torch.from_numpy(each.factors) for each in (self.users, self.items)]
        chosen = tables[0 if side == "users" else 1]
        with torch_threads(1):
            values, basis = gram_basis(chosen, self.threads)

            def turn(block: tuple[torch.Tensor, slice]) -> None:
                table, rows = block
                table[rows] = table[rows] @ basis

            spread(turn, [(table, rows) for table in tables for rows in _even(len(table))], self.threads)
        shared: Floats = (self.alpha0 * values).float().numpy()
        return shared

    def valid_loss(self, valid: Interactions) -> float:
        """Returns the objective without penalties, a positive, those of `valid` in place of train's."""
        observed = 0.0
        for rows in _even(len(valid), 1 + len(valid) // 65_536):
            pairs = self.users.factors[valid.users[rows]], self.items.factors[valid.items[rows]]
            errors = (1 - np.einsum("pd,pd->p", *pairs)) ** 2
            observed += float(errors.sum() if valid.weights is None else errors @ valid.weights[rows])
        users, items = torch.from_numpy(self.users.factors), torch.from_numpy(self.items.factors)
        every = float(((users.T @ users) * (items.T @ items)).sum())
        return observed / max(len(valid), 1) + self.alpha0 * every / max(self.num_positives, 1)

    def state(self) -> State:
        """Returns copies of both tables."""
        return {"net": {"users": self.users.factors.copy(), "items": self.items.factors.copy()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes both tables back, in place."""
        self.users.factors[:], self.items.factors[:] = state["net"]["users"], state["net"]["items"]


def gram_basis(table: torch.Tensor, threads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the basis (D, D) in which the Gram matrix of a table (R, D) is diagonal, after that diagonal (D,)."""
    gram = sum(spread(lambda rows: table[rows].T @ table[rows], _even(len(table)), threads))
    values, vectors = torch.linalg.eigh(torch.as_tensor(gram, dtype=torch.float64))
    return values.clamp(min=0), vectors.float()


def row_sums(indptr: npt.NDArray[np.int64], weights: Floats) -> npt.NDArray[np.float64]:
    """Returns each row's sum of weights (R,)."""
    sums = np.concatenate([np.zeros(1), np.cumsum(weights, dtype=np.float64)])
    found: npt.NDArray[np.float64] = sums[indptr[1:]] - sums[indptr[:-1]]
    return found


def frequency_scaled(reg: float, frequencies: npt.NDArray[np.float64], others: int, alpha0: float, nu: float) -> Floats:
    """Returns each row's L2 strength (R,): reg (n + alpha0 C)^nu, with C rows on the other side."""
    strengths: Floats = (reg * (frequencies + alpha0 * others) ** nu).astype(np.float32)
    return strengths


def _even(size: int, count: int = _GRAM_BLOCKS) -> list[slice]:
    return row_blocks(np.ones(size, np.int64), count)


def row_blocks(costs: npt.NDArray[np.int64], count: int) -> list[slice]:
    """Returns at most `count` slices of rows that cost about the same."""
    sums = np.cumsum(costs)
    bounds = np.searchsorted(sums, np.arange(1, count) * (sums[-1] / count)) if len(sums) else np.zeros(0, np.int64)
    edges = np.unique([0, *bounds, len(costs)]).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]
