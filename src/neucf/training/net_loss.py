"""A net's loss: on a batch, and on validation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.training.losses import Loss
from neucf.training.nets import Net
from neucf.training.sampling import Negatives, NegativeSampler


def batch_loss(net: Net, loss: Loss, users: Tensor, positives: Tensor, negatives: Negatives) -> Tensor:
    """Returns the loss of a batch, penalties excluded."""
    if negatives.items.shape[0] == 1:
        vectors = net.user_vectors(users)
        positive = net.logits(vectors, positives)
        negative = net.grid(vectors, negatives.items[0])
    else:
        # One pass over (B, 1+N), so that each user's row is gathered once
        logits = net(users.unsqueeze(-1), torch.cat([positives.unsqueeze(-1), negatives.items], dim=-1))
        positive, negative = logits[:, 0], logits[:, 1:]
    return loss(
        positive.float(),
        negative.float(),
        log_q_positive=negatives.log_q_positive,
        log_q_negative=negatives.log_q_negative,
        mask=negatives.mask,
    )


@torch.no_grad()
def valid_loss(net: Net, loss: Loss, sampler: NegativeSampler, valid: Interactions) -> float:
    """Returns the loss on `valid` against negatives of epoch 0, which are the same at every call."""
    users = torch.from_numpy(valid.users.astype(np.int64)).to(sampler.device)
    items = torch.from_numpy(valid.items.astype(np.int64)).to(sampler.device)
    known = ~torch.from_numpy(sampler.is_full[valid.users]).to(sampler.device)
    users, items = users[known], items[known]
    total = 0.0
    net.eval()
    for first in range(0, len(users), 16_384):
        rows = slice(first, first + 16_384)
        negatives = sampler.draw(users[rows], items[rows], 0, first)
        total += float(batch_loss(net, loss, users[rows], items[rows], negatives)) * len(users[rows])
    return total / max(len(users), 1)
