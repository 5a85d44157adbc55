"""Draws the histories of made-up people, each an exact sample without replacement of what they like."""

from __future__ import annotations

import numpy as np

from neucf.kernels.compile import kernel
from neucf.kernels.random import below, stream, unit


@kernel
def draw_histories(counts, tastes, topics, accept, alias, seed, block, items, times):
    """Fills items and times (sum of counts) with the histories of B users, one after the other.

    User u draws counts[u] distinct items in turn, each by p(item) = sum_t tastes[u, t] topics[t, item] among the items
    not drawn yet. tastes is (B, T), topics (T, I), accept and alias (T, I) the alias tables of its rows.
    """
    state = stream(seed, 0, block)
    num_topics, num_items = topics.shape
    drawn_by = np.full(num_items, -1, np.int32)
    reach = np.empty(num_items)
    start = 0
    for user in range(len(counts)):
        end = start + counts[user]
        here, misses = start, 0
        # Repeats are thrown away, which leaves the chances among the rest as they were.
        while here < end and misses < num_items:
            state, point = unit(state)
            topic = 0
            while topic < num_topics - 1 and point >= tastes[user, topic]:
                point -= tastes[user, topic]
                topic += 1
            state, item = below(state, num_items)
            state, chance = unit(state)
            if chance >= accept[topic, item]:
                item = alias[topic, item]
            if drawn_by[item] == user:
                misses += 1
            else:
                drawn_by[item] = user
                items[here] = item
                here += 1
        # Someone who has nearly all they like: drawn by bisection of the chances of what is left, until those run dry.
        while here < end:
            total = 0.0
            for item in range(num_items):
                if drawn_by[item] != user:
                    for topic in range(num_topics):
                        total += tastes[user, topic] * topics[topic, item]
                reach[item] = total
            misses = 0
            while here < end and misses < num_items:
                state, point = unit(state)
                low, high = 0, num_items - 1
                while low < high:
                    middle = (low + high) >> 1
                    if reach[middle] > point * total:
                        high = middle
                    else:
                        low = middle + 1
                if drawn_by[low] == user:
                    misses += 1
                else:
                    drawn_by[low] = user
                    items[here] = low
                    here += 1

        state, moment = unit(state)
        clock = 1_400_000_000 + np.int64(moment * 150_000_000)
        for row in range(start, end):
            state, pause = unit(state)
            clock += 60 + np.int64(pause * 86_400)
            times[row] = clock
        start = end
