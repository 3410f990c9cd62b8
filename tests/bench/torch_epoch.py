# SPDX-License-Identifier: Apache-2.0
"""Stage one of recsys-train in PyTorch, in its best form: the network of tests/golden/network.py in single precision,
batches of users of like length so that there is little padding, the loss in blocks of rows whose scores stay in the cache,
fused operations where there are some, buckets of time computed once. Block size and BLAS threads are tried out before the
clock runs."""
import ctypes
import math
import re
import time

import torch
import torch.nn.functional as F

from gradients import STAGE_ONE, targets
from network import POSITIONS, Network, buckets

GATE_START, EMBEDDING_START = 1.0, 0.1  # as models/trainer.c starts
BLOCKS = (256, 1024, 8192)              # rows of the loss at a time, to choose from


def openblas():
    """The OpenBLAS libraries of this process."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split()[-1] for line in maps if re.search(r"/lib(open)?blas[^/]*\.so", line)}
    return [ctypes.CDLL(path) for path in sorted(paths)]


def core_type():
    """Whose kernels this process multiplies with."""
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    for library in openblas():
        if hasattr(library, "openblas_get_corename"):
            library.openblas_get_corename.restype = ctypes.c_char_p
            return library.openblas_get_corename().decode()
    return "no OpenBLAS"


def set_blas_threads(count):
    for library in openblas():
        if hasattr(library, "openblas_set_num_threads"):
            library.openblas_set_num_threads(count)


class FusedNetwork(Network):
    """Heads come first, so that biases, scores and weights are never copied; scale and bias go into the product."""

    def relative_bias(self, block, bucket, behaviour):
        L, name = bucket.shape[1], "block.%d." % block
        age = torch.arange(L)[:, None] - torch.arange(L)[None, :]
        position = self[name + "position"][:, age.clamp(min=0, max=POSITIONS - 1)].masked_fill(age < 0, -math.inf)
        what = self[name + "behaviour"][:, behaviour.clamp(min=0)] * (behaviour >= 0)
        bias = self[name + "time"][:, bucket]                                     # (h, n, L, L)
        return bias.add_(position[:, None]).add_(what[:, :, None, :])

    def attention(self, block, x, bias, drop):
        n, L, d = x.shape
        h = self.architecture["heads"]
        q, k, v = (x @ self["block.%d.qkv.weight" % block]).view(n, L, 3, h, d // h).permute(2, 3, 0, 1, 4)
        q, k, v = (part.reshape(h * n, L, d // h) for part in (q, k, v))
        scores = torch.baddbmm(bias.view(h * n, L, L), q, k.transpose(1, 2), alpha=1 / math.sqrt(d // h))
        y = torch.bmm(drop(F.softmax(scores, dim=-1)), v)
        return y.view(h, n, L, d // h).permute(1, 2, 0, 3).reshape(n, L, d)


def start(network):
    """Starting values as trainer_start has them; other random numbers."""
    d, f = network.architecture["width"], network.architecture["feedforward"]
    deviations = {"qkv.weight": d ** -.5, "out.weight": d ** -.5, "ffn.up.weight": d ** -.5, "ffn.gate.weight": d ** -.5,
                  "ffn.down.weight": f ** -.5, "encoder.gate.weight": d ** -.5, "encoder.id.embedding": EMBEDDING_START,
                  "encoder.output.weight": .1 / d}
    for name, tensor in network.parameters.items():
        if not name.startswith(STAGE_ONE):
            continue
        deviation = next((x for end, x in deviations.items() if name.endswith(end)), 0.0)
        if re.fullmatch(r"encoder\.(?!gate|output)[^.]+\.weight", name):
            deviation = 1.0
        tensor.normal_(0, deviation) if deviation else tensor.zero_()
        if "norm" in name and name.endswith("weight"):
            tensor.fill_(1)
        if re.search(r"gate[12]\.bias$", name):
            tensor.fill_(GATE_START)
        if name == "encoder.output.weight":
            tensor.add_(torch.eye(d) * d ** -.5)


class Batch:
    """Windows of users, padded at the end to the longest: each event but a window's last predicts the next."""

    def __init__(self, windows, columns, ahead):
        n, L = len(windows), max(len(w) for w in windows) - 1
        self.item, self.ts_ms = torch.zeros(n, L, dtype=torch.long), torch.zeros(n, L, dtype=torch.long)
        next_ms, self.behaviour = torch.zeros(n, L, dtype=torch.long), torch.full((n, L), -1)
        target, share = torch.zeros(n, L, ahead, dtype=torch.long), torch.zeros(n, L, ahead)
        for row, window in enumerate(windows):
            item, ts_ms, behaviour = (torch.tensor(column) for column in zip(*window))
            length = len(window) - 1
            self.item[row, :length] = item[:-1]
            target[row, :length], share[row, :length] = targets(item, torch.ones(len(item)), ahead)
            self.ts_ms[row, :length], next_ms[row, :length] = ts_ms[:-1], ts_ms[1:]
            self.behaviour[row, :length] = behaviour[:-1]
        self.bucket = buckets(self.ts_ms, next_ms).to(torch.uint8)
        self.rows = share[:, :, 0].view(-1).nonzero()[:, 0]  # of (n, L), that ask something
        self.user, self.age = self.rows // L, self.rows % L
        self.target, self.share = target.view(n * L, ahead)[self.rows], share.view(n * L, ahead)[self.rows]
        self.weight, self.columns = self.share.sum().item(), columns

    def seen(self, first, last):
        """(rows, columns): what the history of each row holds, but for the targets."""
        later = torch.arange(self.item.shape[1])[None, :] > self.age[first:last, None]
        item = self.item[self.user[first:last]].masked_fill_(later, self.columns)
        out = torch.zeros(last - first, self.columns + 1, dtype=torch.bool).scatter_(1, item, True)
        rows, asked = torch.arange(last - first), self.share[first:last] > 0
        for k in range(asked.shape[1]):
            out[rows[asked[:, k]], self.target[first:last, k][asked[:, k]]] = False
        return out[:, :self.columns]


class Trainer:
    """`windows`: users' training events as [(column, ts_ms, behaviour)]; `options` and `mask_seen` as the fit had them;
    `features` and `present`: x~ (columns, components) of each modality, and who has it."""

    def __init__(self, network, windows, features, present, options, mask_seen):
        self.network, self.options, self.mask_seen = network, options, mask_seen
        self.features, self.present = features, present
        self.block, self.step_count = BLOCKS[0], 0
        start(network)
        self.moved = [network.parameters[name].requires_grad_() for name in network.parameters if name.startswith(STAGE_ONE)]
        kind = torch.optim.AdamW if options["weight_decay"] > 0 else torch.optim.Adam
        self.adam = kind(self.moved, lr=options["learning_rate"], weight_decay=options["weight_decay"], foreach=True)
        self.average = [p.detach().clone() for p in self.moved]
        windows = sorted(windows, key=len)
        size = int(options["batch_users"])
        ahead = int(options.get("ahead", 1))
        self.batches = [Batch(windows[at:at + size], len(network.names), ahead) for at in range(0, len(windows), size)]
        self.events = sum(len(batch.rows) for batch in self.batches)

    def drop_parts(self):
        """Which items keep their embedding, and which modalities; an item that would have nothing keeps all."""
        known = torch.rand(len(self.network.names)) >= self.options["id_dropout"]
        kept = {view: present & (torch.rand(len(present)) >= self.options["modality_dropout"])
                for view, present in self.present.items()}
        nothing = ~(known | torch.stack(list(kept.values())).any(dim=0)) if kept else ~known
        return known | nothing, {view: kept[view] | (nothing & self.present[view]) for view in kept}

    def encode(self):
        network, noise = self.network, self.options["feature_noise"]
        known, present = self.drop_parts()
        features = {view: x + noise * torch.randn_like(x) for view, x in self.features.items()} if noise else self.features
        token = network.tokens(features, present, network["encoder.id.embedding"], known, network.training_count)
        return token, token @ network["encoder.output.weight"]

    @staticmethod
    def loss(scores, target, share):
        if target.shape[1] == 1:  # every event weighs 1
            return F.cross_entropy(scores, target[:, 0], reduction="sum")
        of_targets = scores.gather(1, target).masked_fill(share == 0, 0.0)
        return share.sum(dim=1) @ scores.logsumexp(dim=1) - (share * of_targets).sum()

    def backward(self, u, output, batch):
        """The loss, block by block: no (rows, columns) matrix is ever whole."""
        parts = [part.detach().requires_grad_() for part in u.split(self.block)]
        items, total, first = output.detach().requires_grad_(), 0.0, 0
        for part in parts:
            last = first + len(part)
            scores = part @ items.t()
            if self.mask_seen:
                scores = scores.masked_fill_(batch.seen(first, last), -math.inf)
            loss = self.loss(scores, batch.target[first:last], batch.share[first:last]) / batch.weight
            loss.backward()
            total += loss.item()
            first = last
        torch.autograd.backward([u, output], [torch.cat([part.grad for part in parts]), items.grad])
        return total

    def step(self, batch):
        o, n, L = self.options, *batch.item.shape
        self.adam.zero_grad(set_to_none=True)
        token, output = self.encode()
        history = token.index_select(0, batch.item.view(-1)).view(n, L, -1)
        u = self.network.states(history, batch.behaviour, batch.bucket.long(), lambda x: F.dropout(x, o["dropout"]),
                                lambda x: F.dropout(x, o["attention_dropout"]))
        loss = self.backward(u.reshape(n * L, -1).index_select(0, batch.rows), output, batch)
        if o["clip"] > 0:
            torch.nn.utils.clip_grad_norm_(self.moved, o["clip"])
        self.step_count += 1
        for group in self.adam.param_groups:
            group["lr"] = o["learning_rate"] * min(1.0, self.step_count / max(1, o["warmup_steps"]))
        self.adam.step()
        if o["average"] > 0:
            with torch.no_grad():
                torch._foreach_mul_(self.average, o["average"])
                torch._foreach_add_(self.average, self.moved, alpha=1 - o["average"])
        return loss * batch.weight

    def tune(self, threads):
        """Choose the block, and the threads of a product, that are fastest on a batch of middling length and the longest."""
        probes = [self.batches[len(self.batches) // 2], self.batches[-1]]
        best = None
        for blas in sorted({1, threads}):
            for block in BLOCKS:
                set_blas_threads(blas)
                self.block = block
                self.step(probes[0])  # memory is there, threads are awake
                begin = time.perf_counter()
                for probe in probes:
                    self.step(probe)
                best = min(best or (math.inf,), (time.perf_counter() - begin, block, blas))
        _, self.block, self.blas_threads = best
        set_blas_threads(self.blas_threads)
        with torch.no_grad():
            start(self.network)
        self.adam.state.clear()
        self.step_count = 0

    def epoch(self):
        """(seconds, mean loss)"""
        begin, loss = time.perf_counter(), 0.0
        for at in torch.randperm(len(self.batches)).tolist():
            loss += self.step(self.batches[at])
        return time.perf_counter() - begin, loss / sum(batch.weight for batch in self.batches)
