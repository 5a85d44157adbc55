"""A tiny planted pattern: users and items fall into groups, and users choose within their group."""

from __future__ import annotations

import numpy as np

from neucf.data.interactions import Interactions


def planted(
    num_users: int = 60, num_items: int = 40, num_groups: int = 4, seed: int = 0
) -> tuple[Interactions, Interactions]:
    """Returns (train, held out): each user chose two thirds of the group's items; one more each is held out."""
    rng = np.random.default_rng(seed)
    users, items, held_users, held_items = [], [], [], []
    for user in range(num_users):
        own = np.flatnonzero(np.arange(num_items) % num_groups == user % num_groups)
        chosen = rng.permutation(own)[: max(2, 2 * len(own) // 3)]
        users += [user] * (len(chosen) - 1)
        items += chosen[1:].tolist()
        held_users.append(user)
        held_items.append(int(chosen[0]))
    ids = {"user_ids": [f"u{x}" for x in range(num_users)], "item_ids": [100 + x for x in range(num_items)]}
    train = Interactions.from_arrays(users, items, **ids)
    held = Interactions.from_arrays(held_users, held_items, user_ids=train.user_ids, item_ids=train.item_ids)
    return train, held
