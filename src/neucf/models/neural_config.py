"""NeuralConfig: the settings every net shares."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from neucf.models.config import Tunable
from neucf.models.trained import TrainedConfig
from neucf.training.catalogue_loss import TEMPERATURES, Precision
from neucf.training.losses import LossName
from neucf.training.nets import InitName
from neucf.training.optimizers import OptimizerName
from neucf.training.sampling import SamplerName
from neucf.training.schedules import ScheduleName


class NeuralConfig(TrainedConfig):
    """What every net shares. A model's own config adds its shape and its defaults."""

    loss: LossName = Field("bce", description="What training minimises.")
    temperature: Annotated[float, Tunable(0.05, 2.0, log=True, when=("loss", "softmax"))] = Field(
        1.0,
        ge=0,
        description="Divides the logits of the softmax loss; 0 goes by the catalogue: 1.66 / I^0.286, for cosines.",
    )
    sampler: SamplerName = Field(
        "auto",
        description="Where negatives come from; `shared` is one set a batch, `all` the catalogue, for softmax. "
        "`auto` is uniform; for softmax all, or shared where that costs too much: 1024 where a product meets all, as "
        "neumf's does, else as many as make 2^27 logits an epoch, or 8192 a positive where logits are products.",
    )
    negatives: Annotated[int, Tunable(1, 16, log=True, when=("loss", "bpr", "bce"))] = Field(
        4, ge=1, le=65_536, description="Negatives N of each positive, or of the batch if shared."
    )
    power: Annotated[float, Tunable(0.25, 1.0, when=("sampler", "popularity"))] = Field(
        0.75, ge=0, le=1, description="Exponent of `sampler=popularity`."
    )
    item_power: Annotated[float, Tunable(-0.4, 0.2, when=("loss", "softmax"))] = Field(
        0.0,
        ge=-2,
        le=2,
        description="Exponent of its train positives by which an item weighs among the competitors in a softmax over "
        "the catalogue or a pool; below 0 lists lean to the popular.",
    )
    hardness: int = Field(1, ge=1, le=1024, description="Each negative is the best scored of this many draws.")
    optimizer: OptimizerName = Field("adam", description="`adam` moves every row each step, `lazy-adam` those touched.")
    lr: Annotated[float, Tunable(5e-4, 0.03, log=True)] = Field(1e-3, gt=0, description="Learning rate.")
    schedule: ScheduleName = Field("linear", description="How the rate falls over the epochs.")
    decay: float = Field(0.95, gt=0, le=1, description="Factor of the exponential schedule.")
    decay_every: int = Field(1, ge=1, description="Epochs between two decays.")
    warmup: float = Field(0.0, ge=0, description="Epochs over which the rate first rises from 0.")
    batch_size: int = Field(
        0,
        ge=0,
        description="Positives a step; 0 takes a power of two that makes about 500 steps an epoch, 128 to 8192.",
    )
    reg: Annotated[float, Tunable(0.0, 0.05)] = Field(
        0.0, ge=0, description="L2 strength on the embeddings a step touches."
    )
    reg_weights: float = Field(0.0, ge=0, description="L2 strength on all other weights.")
    clip: float = Field(0.0, ge=0, description="Largest gradient norm; 0 leaves gradients alone.")
    init: InitName = Field("normal", description="How embeddings start.")
    init_std: float = Field(0.1, ge=0, description="Deviation of `init=normal`.")
    engine: Literal["auto", "torch", "compiled"] = Field("auto", description="What runs an epoch.")
    precision: Precision = Field(
        "auto",
        description="Of products over the catalogue, `auto` bf16 where the device is faster by it, and of the forward "
        "pass of other losses on CUDA, `auto` float32.",
    )


class CosineConfig(NeuralConfig):
    """What mf, gmf and neumf share: an inner product, by default a cosine under the softmax over the catalogue.

    Of the losses, that was best on validation on ml-latest-small, ml-100k and gowalla (docs/results.md).
    """

    dim: Annotated[int, Tunable(32, 1024, log=True)] = Field(
        512, ge=1, le=4096, description="Length D of an embedding."
    )
    cosine: Annotated[bool, Tunable(choices=(False, True), when=("loss", "softmax"))] = Field(
        True, description="Whether products are cosines, with the softmax loss; with others they are not."
    )
    loss: LossName = Field("softmax", description="What training minimises.")
    temperature: Annotated[float, Tunable(choices=TEMPERATURES, when=("loss", "softmax"))] = Field(
        0.0,
        ge=0,
        description="Divides the logits of the softmax loss; 0 goes by the catalogue's size, 1.66 / I^0.286.",
    )
    lr: Annotated[float, Tunable(5e-4, 0.1, log=True)] = Field(0.02, gt=0, description="Learning rate.")
    epochs: Annotated[int, Tunable(8, 64, log=True)] = Field(16, ge=1, description="Horizon of the schedule.")
    eval_every: int = Field(2, ge=1, description="Epochs between two evaluations on validation.")

    @property
    def by_cosine(self) -> bool:
        """Whether products are cosines."""
        return self.cosine and self.loss == "softmax"
