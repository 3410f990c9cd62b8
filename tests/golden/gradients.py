# SPDX-License-Identifier: Apache-2.0
"""The losses of both stages of training, by the network of network.py; autograd gives the gradients.

    stage one   mean over the events of a batch of users of -log softmax(u o')[next item], over the items with training
                events, each weighing what its behaviour weighs; with `ahead` also the items after the next, for less
    stage two   -log softmax(score)[target] of the total score for one query, over the items that compete"""
import math

import torch
import torch.nn.functional as F

from network import ROLES, buckets

STAGE_ONE = ("encoder.", "sequence.", "block.")
STAGE_TWO = ("similarity.", "head.")


def sequence_loss(network, rows, histories, mask_seen, ahead=1):
    """`histories`: (item (L), ts_ms (L), behaviour (L), weight (L)) of each user, oldest first; item is a row of `rows`.
    Row i is the state after event i as of the time of event i + 1. It predicts `ahead` events."""
    total, weights = 0.0, 0.0
    for item, ts_ms, behaviour, weight in histories:
        bucket = buckets(ts_ms[None, :-1], ts_ms[None, 1:])
        u = network.states(rows.token[item[:-1]][None], behaviour[None, :-1], bucket)[0]
        scores = u @ rows.output.T                                                     # (L - 1, N)
        target, share = targets(item, weight, ahead)
        if mask_seen:
            scores = scores.masked_fill(seen(item[:-1], target, share, scores.shape[1]), -math.inf)
        of_targets = F.log_softmax(scores, dim=1).gather(1, target)
        total = total - (share * torch.where(share > 0, of_targets, torch.zeros_like(of_targets))).sum()
        weights += share.sum().item()
    return total / weights


def targets(item, weight, ahead):
    """(L - 1, ahead) twice: the items that each row predicts, and what they weigh: the event k steps on 1 / k of what its
    behaviour does, where that is above 0."""
    steps = torch.arange(1, ahead + 1)
    at = torch.arange(len(item) - 1)[:, None] + steps
    there = at < len(item)
    at = at.clamp(max=len(item) - 1)
    return item[at], weight[at].clamp(min=0) * there / steps


def seen(item, target, share, columns):
    """(L - 1, N): the items of the history up to each row, but for its targets."""
    met = F.one_hot(item, columns).cumsum(dim=0) > 0
    for k in range(target.shape[1]):
        asked = share[:, k] > 0
        met[torch.arange(len(item))[asked], target[asked, k]] = False
    return met


def total_loss(network, rows, query, target, hidden):
    """`query`: (history, now_ms, probability, popularity, recent) with every row a candidate, but those `hidden`."""
    history, now_ms, probability, popularity, recent = query
    parts = network.parts(rows, torch.arange(len(popularity)), history, now_ms, probability, popularity, recent)
    scores = parts.sum(dim=1)
    out = torch.zeros(len(scores), dtype=torch.bool)
    out[hidden] = True
    return F.cross_entropy(scores.masked_fill(out, -math.inf)[None], torch.tensor([target]))


def gradient(network, names, loss_of):
    """(loss, {name: gradient}) of `names`; zeros where the loss does not depend on a tensor."""
    frozen = network.parameters
    network.parameters = {name: tensor.clone().requires_grad_(name in names) for name, tensor in frozen.items()}
    try:
        loss = loss_of()
        wanted = [network.parameters[name] for name in names]
        found = torch.autograd.grad(loss, wanted, allow_unused=True)
    finally:
        network.parameters = frozen
    return loss.item(), {name: torch.zeros_like(frozen[name]) if g is None else g for name, g in zip(names, found)}


def names_of_stage(network, stage):
    """What the gradient is of. Stage two moves the head, and of the views only their corrections."""
    prefixes = STAGE_ONE if stage == "one" else STAGE_TWO
    if stage == "two":
        prefixes += tuple("view.%s.%s." % (view, role) for view in network.views for role in ROLES)
    return [name for name in network.parameters if name.startswith(prefixes)]
