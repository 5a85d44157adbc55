"""Engines against autograd on the written-out objective, and against each other."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted
from torch import Tensor

from neucf.kernels.factors import BCE, BPR, bpr_step, step
from neucf.kernels.logistic import logistic
from neucf.models import MODELS
from neucf.models.gmf import GMF
from neucf.models.mf import MF, MFConfig, MFNet
from neucf.models.mlp import MLP
from neucf.models.neumf import NeuMF
from neucf.recommender import to_numpy
from neucf.training import engines
from neucf.training.engines import TorchEngine
from neucf.training.losses import LossName
from neucf.training.recording import Fixed
from neucf.training.sampling import Negatives, NegativeSampler

TRAIN, _ = planted()
REG, LR = 0.3, 0.05
USERS, POSITIVES = torch.tensor([1]), torch.tensor([5])
NEGATIVES = torch.tensor([[6, 2, 3]])


def fresh(bias: bool = True, dim: int = 7) -> MFNet:
    config = MFConfig(dim=dim, bias=bias, reg=REG, loss="bce")
    net = MFNet(TRAIN.num_users, TRAIN.num_items, config, torch.Generator().manual_seed(0))
    if net.item_bias is not None:
        torch.nn.init.normal_(net.item_bias.weight, generator=torch.Generator().manual_seed(1))
    return net


def engine(net: MFNet, loss: LossName, optimizer: str = "sgd", sampler: str = "uniform") -> TorchEngine:
    negatives = NegativeSampler(TRAIN, sampler, 3, power=1.0, seed=0, device=torch.device("cpu"))  # type: ignore[arg-type]
    return TorchEngine(net, loss, negatives, TRAIN, optimizer=optimizer, batch_size=4)  # type: ignore[arg-type]


def objective(net: MFNet, loss: str, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """The loss and its L2 terms, written out term by term."""
    p, q = net.user_embedding.weight, net.item_embedding.weight
    b = net.item_bias.weight[:, 0] if net.item_bias is not None else torch.zeros(TRAIN.num_items)

    def size(user: int, items: list[int]) -> Tensor:
        return REG / 2 * (p[user].square().sum() + sum(q[i].square().sum() + b[i].square() for i in items))

    terms = []
    for user, i, row in zip(users.tolist(), positives.tolist(), negatives.tolist(), strict=True):
        x = {item: p[user] @ q[item] + b[item] for item in [i, *row]}
        if loss == "bpr":
            terms += [-torch.nn.functional.logsigmoid(x[i] - x[j]) + size(user, [i, j]) for j in row]
        else:
            terms += [-torch.nn.functional.logsigmoid(x[i]) + size(user, [i])]
            terms += [-torch.nn.functional.logsigmoid(-x[j]) + size(user, [j]) for j in row]
    return torch.stack(terms).mean()


@pytest.mark.parametrize("loss", ["bpr", "bce"])
def test_a_torch_step_is_gradient_descent_on_the_written_objective(loss: LossName) -> None:
    users, positives = torch.tensor([1, 4, 1]), torch.tensor([5, 0, 9])
    negatives = torch.tensor([[6, 2, 3], [7, 7, 1], [6, 4, 8]])
    net, oracle = fresh(), fresh()
    objective(oracle, loss, users, positives, negatives).backward()
    engine(net, loss).step_on(users, positives, Negatives(negatives, None, None, None), LR)
    for moved, start in zip(net.parameters(), oracle.parameters(), strict=True):
        assert start.grad is not None
        torch.testing.assert_close(moved.detach(), start.detach() - LR * start.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("loss", ["bpr", "bce"])
def test_one_step_agrees_between_the_engines(loss: LossName, bias: bool) -> None:
    by_torch, by_kernel = fresh(bias), fresh(bias)
    value = engine(by_torch, loss).step_on(USERS, POSITIVES, Negatives(NEGATIVES, None, None, None), LR)
    p, q = by_kernel.user_embedding.weight.detach().numpy(), by_kernel.item_embedding.weight.detach().numpy()
    b = np.zeros(TRAIN.num_items, np.float32)
    if by_kernel.item_bias is not None:
        b = by_kernel.item_bias.weight.detach().numpy().reshape(-1)
    kind = BPR if loss == "bpr" else BCE
    gradients, shift = np.empty(4, np.float32), np.empty(7, np.float32)
    items = np.array([5, 6, 2, 3])
    summed = step(p, 1, q, b, bias, items, gradients, shift, kind, np.float32(LR), np.float32(REG))
    assert summed == pytest.approx(value.item(), rel=1e-5)
    for one, other in zip(by_torch.parameters(), by_kernel.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dim", [1, 7, 32, 70])
@pytest.mark.parametrize("bias", [False, True])
def test_one_triple_agrees_between_the_engines(bias: bool, dim: int) -> None:
    by_torch, by_kernel = fresh(bias, dim), fresh(bias, dim)
    negatives = Negatives(torch.tensor([[6]]), None, None, None)
    value = engine(by_torch, "bpr").step_on(USERS, POSITIVES, negatives, LR)
    p, q = by_kernel.user_embedding.weight.detach().numpy(), by_kernel.item_embedding.weight.detach().numpy()
    b = np.zeros(TRAIN.num_items, np.float32)
    if by_kernel.item_bias is not None:
        b = by_kernel.item_bias.weight.detach().numpy().reshape(-1)
    loss = bpr_step(p, 1, q, b, bias, 5, 6, np.float32(LR), np.float32(REG))
    assert loss == pytest.approx(value.item(), rel=1e-5)
    for one, other in zip(by_torch.parameters(), by_kernel.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_logistic_is_close_and_lets_what_is_not_finite_through() -> None:
    x = np.concatenate([np.linspace(-200, 200, 4001), np.linspace(-2, 2, 4001)]).astype(np.float32)
    sigmoids, losses = np.array([logistic(value) for value in x]).T
    exact = x.astype(np.float64)
    np.testing.assert_allclose(sigmoids, 1 / (1 + np.exp(exact)), rtol=0, atol=2e-7)
    np.testing.assert_allclose(losses, np.logaddexp(0, -exact), rtol=2e-7, atol=2e-7)
    assert np.isnan(logistic(np.float32("nan"))[1])
    assert logistic(np.float32("-inf")) == (1, np.inf)
    assert logistic(np.float32("inf")) == pytest.approx((0, 0), abs=1e-30)


def test_lazy_adam_moves_only_touched_rows_and_adam_moves_all() -> None:
    for optimizer, others_move in (("lazy-adam", False), ("adam", True)):
        net = fresh()
        trained = engine(net, "bce", optimizer)
        before: list[Tensor] = []
        for items in (NEGATIVES, torch.tensor([[10, 11, 12]])):
            before = [weight.detach().clone() for weight in net.parameters()]
            trained.step_on(USERS, POSITIVES, Negatives(items, None, None, None), LR)
        moved = (net.item_embedding.weight != before[1]).any(1)
        assert moved[[5, 10, 11, 12]].all()
        # Items 6, 2 and 3 were touched a step before: only standard Adam's momentum still carries them
        assert bool(moved[[6, 2, 3]].any()) is others_move


def test_the_first_lazy_step_equals_the_standard_one_on_touched_rows() -> None:
    lazy, standard = fresh(), fresh()
    batch = Negatives(NEGATIVES, None, None, None)
    engine(lazy, "bce", "lazy-adam").step_on(USERS, POSITIVES, batch, LR)
    engine(standard, "bce", "adam").step_on(USERS, POSITIVES, batch, LR)
    for one, other in zip(lazy.parameters(), standard.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_shared_negative_is_penalised_as_the_batch_means_it() -> None:
    """The same gradient as when every user is given those negatives as its own."""
    users, positives = torch.tensor([1, 4]), torch.tensor([5, 0])
    shared, own = fresh(), fresh()
    for loss in ("bce", "softmax", "bpr"):
        engine(shared, loss).step_on(users, positives, Negatives(NEGATIVES, None, None, None), LR)
        engine(own, loss).step_on(users, positives, Negatives(NEGATIVES.expand(2, -1), None, None, None), LR)
    for one, other in zip(shared.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_hard_negatives_are_the_best_scored_of_their_draws() -> None:
    net = fresh()
    hard = engine(net, "bpr")
    hard.hardness = 4
    draws = hard.sampler.draw(USERS, POSITIVES, 1, 0, 12)
    chosen, drawn = hard.hardest(USERS, draws).items, draws.items.view(1, 3, 4)
    scores = net(USERS.view(1, 1, 1), drawn)
    assert torch.equal(chosen, drawn.gather(-1, scores.argmax(-1, keepdim=True)).squeeze(-1))


def test_both_engines_reach_the_same_quality() -> None:
    settings = {"dim": 8, "loss": "bpr", "optimizer": "sgd", "batch_size": 1, "lr": 0.05, "epochs": 20, "negatives": 1}
    own = TRAIN.csr().toarray() > 0
    gaps = []
    for name in ("torch", "compiled"):
        model = MF(**settings, engine=name).fit(TRAIN, seed=0, threads=1)
        assert model.engine == {"torch": "torch", "compiled": "compiled-sgd"}[name]
        scores = to_numpy(model.score(np.arange(TRAIN.num_users)))
        gaps.append(float(scores[own].mean() - scores[~own].mean()))
    assert gaps[0] == pytest.approx(gaps[1], rel=0.1)


@pytest.mark.parametrize("kind", ["uniform", "popularity"])
def test_negatives_of_many_batches_drawn_at_once_are_those_of_each(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order = torch.randperm(len(TRAIN), generator=torch.Generator().manual_seed(3))
    drawn = []
    for at_once in (1 << 22, 1):
        monkeypatch.setattr(engines, "_DRAWN", at_once)
        batches = list(engine(fresh(), "bpr", sampler=kind)._batches(order, 2))
        assert [len(users) for users, _, _ in batches][:-1] == [4] * (len(batches) - 1)
        drawn.append(torch.cat([negatives.items for _, _, negatives in batches]))
    assert torch.equal(*drawn)
    assert drawn[0].shape == (len(TRAIN), 3)


class Recorder:
    """Stands for CUDA's: a replay runs the step again, on what lies in the memory that the recording knew."""

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.run_, self.recorded, self.replayed = fails, 0, 0, 0

    def run(self, step: Fixed) -> Tensor:
        self.run_ += 1
        return step()

    def record(self, step: Fixed) -> Fixed:
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recorded += 1

        def replay() -> Tensor:
            self.replayed += 1
            return step()

        return replay


@pytest.mark.parametrize("sampler", ["uniform", "shared", "in-batch"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_recorded_steps_move_as_others_do(optimizer: str, sampler: str) -> None:
    plain, recorded = (engine(fresh(), "bce", optimizer, sampler) for _ in range(2))
    plain.batch_size = recorded.batch_size = 7
    recorder = Recorder()
    recorded.record(recorder)
    whole, rest = divmod(len(TRAIN), 7)
    assert rest, "the last batch must be a smaller one"
    for epoch in (1, 2):
        losses = [each.run_epoch(epoch, lambda done: 0.02 * (1 - done)) for each in (plain, recorded)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        # A checkpoint's moments lie elsewhere: the next epoch records anew
        recorded.load_state(recorded.state())
    assert (recorder.run_, recorder.recorded, recorder.replayed) == (6, 2, 2 * (whole - 3))
    for one, other in zip(plain.net.parameters(), recorded.net.parameters(), strict=True):
        # A rate that is a tensor has seven digits
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lazy-adam"])
def test_an_engine_goes_when_it_is_let_go(optimizer: str) -> None:
    gc.collect()
    gc.disable()
    try:
        trained = engine(fresh(), "bce", optimizer)
        trained.run_epoch(1, lambda _: 0.02)
        seen = weakref.ref(trained)
        del trained
        assert seen() is None
    finally:
        gc.enable()


def test_a_step_that_cannot_be_recorded_is_taken_as_it_is() -> None:
    plain, recorded = (engine(fresh(), "bpr", "adam") for _ in range(2))
    recorded.record(Recorder(fails=True))
    with pytest.warns(RuntimeWarning, match="without a CUDA graph"):
        loss = recorded.run_epoch(1, lambda _: 0.02)
    assert loss == plain.run_epoch(1, lambda _: 0.02)
    assert not any(group["capturable"] for group in recorded.optimizers[0].param_groups)


def test_clipping_bounds_the_step() -> None:
    net = fresh()
    clipped = engine(net, "bpr")
    clipped.clip = 1e-3
    before = [weight.detach().clone() for weight in net.parameters()]
    clipped.step_on(USERS, POSITIVES, Negatives(NEGATIVES, None, None, None), 1.0)
    moved = sum(float((a.detach() - b).square().sum()) for a, b in zip(net.parameters(), before, strict=True))
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-3)


def test_a_sparse_gradient_is_clipped_as_the_dense_one() -> None:
    # User 1 twice, item 6 as positive and as negative
    users, positives = torch.tensor([1, 1]), torch.tensor([5, 6])
    batch = Negatives(torch.tensor([[6, 2, 3], [6, 0, 2]]), None, None, None)
    gradients = []
    for optimizer in ("sgd", "lazy-adam"):
        net = fresh()
        clipped = engine(net, "bpr", optimizer)
        clipped.clip = 1e-3
        clipped.step_on(users, positives, batch, 0.0)
        gradients.append([weight.grad.to_dense() for weight in net.parameters() if weight.grad is not None])
    for dense, sparse in zip(*gradients, strict=True):
        torch.testing.assert_close(sparse, dense)
    assert sum(float(each.square().sum()) for each in gradients[1]) ** 0.5 == pytest.approx(1e-3, rel=1e-3)


NETS = {
    "mf": (MF, {"dim": 5, "bias": True, "reg": 0.2, "cosine": False}),
    "gmf": (GMF, {"dim": 5, "reg": 0.2, "h": "free", "cosine": False}),
    "gmf-clipped": (GMF, {"dim": 5, "reg": 0.2, "cosine": False}),
    "mlp": (MLP, {"tower": "8-6-4-3", "reg": 0.2, "reg_weights": 0.1}),
    "neumf": (NeuMF, {"dim": 5, "tower": "8-6-4", "cosine": False, "reg": 0.2, "reg_mlp": 0.3, "reg_weights": 0.1}),
    # Layers of several vectors, and none of whole ones
    "neumf-wide": (NeuMF, {"dim": 19, "tower": "70-41-25", "cosine": False, "reg": 0.2, "reg_weights": 0.1}),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("optimizer", ["adam", "lazy-adam"])
@pytest.mark.parametrize("loss", ["bpr", "bce", "softmax"])
@pytest.mark.parametrize("net", list(NETS))
def test_batched_epochs_agree_with_torch(net: str, loss: str, optimizer: str, threads: int) -> None:
    """The same negatives, steps and rule: two whole epochs end at the same weights."""
    kind, settings = NETS[net]
    shared = {**settings, "loss": loss, "optimizer": optimizer, "epochs": 2, "negatives": 3, "batch_size": 40}
    shared |= {"temperature": 0.7, "sampler": "popularity" if net == "mlp" else "uniform"}
    by_torch = kind(**shared, engine="torch", lr=0.003).fit(TRAIN, seed=3, threads=1)
    compiled = kind(**shared, engine="compiled", lr=0.003).fit(TRAIN, seed=3, threads=threads)
    assert (by_torch.engine, compiled.engine) == ("torch", "compiled-batch")
    for name, value in by_torch.arrays().items():
        # The output's bias cancels in all but BCE: its gradient is rounding alone, which Adam scales up
        if name != "bias" or loss == "bce":
            np.testing.assert_allclose(compiled.arrays()[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("net", list(NETS))
def test_one_batched_step_agrees_with_torch(net: str) -> None:
    kind, settings = NETS[net]
    shared = {**settings, "loss": "bce", "epochs": 1, "negatives": 3, "batch_size": len(TRAIN), "lr": 0.01}
    by_torch = kind(**shared, engine="torch").fit(TRAIN, seed=3, threads=1).arrays()
    compiled = kind(**shared, engine="compiled").fit(TRAIN, seed=3, threads=2).arrays()
    for name, value in by_torch.items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_bpr_mf_scales_its_penalty_by_density(power: float) -> None:
    strength = 0.04 * (100 * len(TRAIN) / (TRAIN.num_users * TRAIN.num_items)) ** power
    settings = {"dim": 8, "epochs": 2, "eval_every": 2, "negatives": 1}
    # Plays or stars are no density
    weighted = replace(TRAIN, weights=np.full(len(TRAIN), 50.0))
    scaled = MODELS["bpr-mf"](**settings, reg=0.04, reg_power=power).fit(weighted, seed=0, threads=1)
    told = MODELS["bpr-mf"](**settings, reg=strength, reg_power=0).fit(TRAIN, seed=0, threads=1)
    torch.testing.assert_close(scaled.score([1, 2]), told.score([1, 2]))
    assert not power or not torch.equal(
        told.score([1]), MODELS["bpr-mf"](**settings, reg=0.04, reg_power=0).fit(TRAIN, seed=0, threads=1).score([1])
    )
