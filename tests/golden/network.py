# SPDX-License-Identifier: Apache-2.0
"""The network in plain PyTorch: the reference of what recsysd computes, written to be read beside the formulas.

    score(c) = sequence(c) + sum of streams(c) + co-occurrence(c) + prior(c)

Shapes are row-major, vectors are rows:
    N items     n users     L events of a history, oldest first     C candidates
    D dimension of a raw vector     r components of a view     d width     f feedforward     h heads     B behaviours

Parameters go by their names in the model file; `Network.parameters["block.0.qkv.weight"]` is that tensor. Functions take batches
of users padded at the end: attention is causal, so a padding row never reaches a real one.

Only what gives a number is here. Blocks, caches, candidate selection and threads are the C side's business."""
import json
import math

import torch
import torch.nn.functional as F

import safetensors

POSITIONS = 64     # ages in steps with a bias of their own; older events share the last
TIME_BUCKETS = 64
NORM_EPSILON = 1e-5
NEGLIGIBLE = 0.003  # co-occurrence leaves out events whose decay has fallen below
GATE_WIDTH = 32
HEAD_MEANS = {"head.sequence": 0.4, "head.stream": 0.5, "head.stream_count": 0.05, "head.value": 1.0,
              "head.cooccurrence": 1.2, "head.reverse": 0.6, "head.epsilon": 0.1, "head.decay": 0.8, "head.popularity": 0.03,
              "head.recent": -0.05, "head.novelty": 0.4}
ITEM_TENSORS = ("items.names", "items.ends", "items.count")
ROLES = ("query", "key", "candidate_value", "history_value")


def keep(x):
    """In place of dropout, where nothing is trained."""
    return x


def time_bucket(age_ms):
    """floor(ln(max(1, seconds)) / 0.301), at most 63 (HSTU). Single precision, as in C: at a bucket's edge rounding decides."""
    seconds = (age_ms.to(torch.float32) / 1000).clamp(min=1)
    return (torch.log(seconds) / 0.301).long().clamp(max=TIME_BUCKETS - 1)


def buckets(ts_ms, from_ms):
    """(n, L, L): how long before from_ms[i] event j was. Row i looks back from the time of the event that it predicts: the
    next one's, or now. ts_ms, from_ms (n, L)"""
    return time_bucket(from_ms[:, :, None] - ts_ms[:, None, :])


def unit(x):
    """Rows of length 1; a row of zeros stays."""
    length = x.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, x / length.clamp(min=1e-30), torch.zeros_like(x))


class Items:
    """What the shop says about N items: names (N), and for each view of a modality raw vectors (N, D), which are zero where
    `present` (N) is False."""

    def __init__(self, names, vectors, present):
        self.names, self.vectors, self.present = names, vectors, present


class Rows:
    """Encoded items: for each view x~ (N, r), and its four roles; z and o (N, d), None without a sequence part."""

    def __init__(self, view, role, token, output):
        self.view, self.role, self.token, self.output = view, role, token, output


class History:
    """n users' events (n, L): `item` is a row of the encoded items or -1 for one that is gone, `behaviour` an index of the
    architecture or -1, `weight` what the shop configured for a behaviour that the model does not know."""

    def __init__(self, item, ts_ms, behaviour, weight):
        self.item, self.ts_ms, self.behaviour, self.weight = item, ts_ms, behaviour, weight


class Network:
    def __init__(self, architecture, parameters, names=(), training_count=None, name="golden", training=None):
        self.architecture, self.parameters = architecture, parameters
        self.names, self.training_count = list(names), training_count
        self.id_row = {name: row for row, name in enumerate(self.names)}
        self.name, self.training = name, training
        self.views = {view["name"]: view for view in architecture["views"]}

    def __getitem__(self, name):
        return self.parameters[name]

    # ---- the file

    @classmethod
    def of_file(cls, tensors, metadata, dtype=torch.float64):
        """`tensors` and `metadata` as safetensors.load gives them."""
        assert metadata["format"] == "recsysd-1", metadata["format"]
        names, begin = [], 0
        content = tensors["items.names"].tobytes()
        for end in tensors["items.ends"]:
            names.append(content[begin:end - 1].decode())  # each ends with a NUL
            begin = end
        parameters = {name: torch.from_numpy(tensor).to(dtype) for name, tensor in tensors.items()
                      if name not in ITEM_TENSORS}
        return cls(json.loads(metadata["architecture"]), parameters, names,
                   torch.from_numpy(tensors["items.count"]).to(dtype), metadata["name"],
                   json.loads(metadata["training"]) if "training" in metadata else None)

    @classmethod
    def load(cls, path, dtype=torch.float64):
        return cls.of_file(*safetensors.load(path), dtype=dtype)

    def file(self):
        """(tensors, metadata) for safetensors.save."""
        ends, at = [], 0
        for name in self.names:
            at += len(name.encode()) + 1
            ends.append(at)
        tensors = {name: tensor.detach().to(torch.float32).contiguous().numpy()
                   for name, tensor in self.parameters.items()}
        tensors["items.names"] = torch.tensor(list(b"".join(n.encode() + b"\0" for n in self.names)),
                                              dtype=torch.uint8).numpy()
        tensors["items.ends"] = torch.tensor(ends, dtype=torch.int64).numpy()
        count = torch.zeros(0) if self.training_count is None else self.training_count
        tensors["items.count"] = count.to(torch.float32).numpy()
        compact = {"sort_keys": True, "separators": (",", ":")}
        metadata = {"architecture": json.dumps(self.architecture, **compact), "format": "recsysd-1", "name": self.name}
        if self.training is not None:
            metadata["training"] = json.dumps(self.training, **compact)
        return tensors, metadata

    def save(self, path):
        safetensors.save(path, *self.file())

    # ---- items

    def components(self, view, raw):
        """x~ (N, r) = unit((unit(x) - mean) R): rotated to its principal components, which R also whitens. A missing vector, all
        zeros, stays zero."""
        there = (raw != 0).any(dim=1, keepdim=True)
        centred = torch.where(there, unit(raw) - self["view.%s.mean" % view], torch.zeros_like(raw))
        return unit(centred @ self["view.%s.rotation" % view])

    def id_rows(self, names):
        """The embedding's rows (N, d), zeros for items that the model does not know; which it knows (N); and how often it met
        each in its training data (N)."""
        width, like = self.architecture["width"], self["head.value"]
        rows = torch.tensor([self.id_row.get(name, -1) for name in names], dtype=torch.long)
        if self.architecture["blocks"] == 0 or not self.names:
            return like.new_zeros(len(names), width), torch.zeros_like(rows, dtype=torch.bool), like.new_zeros(len(names))
        known = rows >= 0
        return gather(self["encoder.id.embedding"], rows), known, self.training_count[rows.clamp(min=0)] * known

    def roles(self, view, x):
        """q, k, r, v (N, r each): x + (x A) B, A (r, correction), B (correction, r); x itself without a correction."""
        if self.views[view]["correction"] == 0:
            return {role: x for role in ROLES}
        return {role: x + x @ self["view.%s.%s.down" % (view, role)] @ self["view.%s.%s.up" % (view, role)]
                for role in ROLES}

    def gate_score(self, z, bias):
        """Additive attention (Bahdanau et al. 2015): w tanh(z U + c), (N); U (d, 32)."""
        return torch.tanh(z @ self["encoder.gate.weight"] + bias) @ self["encoder.gate.out"]

    def project(self, view, x):
        """z_m (N, d) = LN(x~ A_m + b_m)"""
        y = x @ self["encoder.%s.weight" % view] + self["encoder.%s.bias" % view]
        return F.layer_norm(y, y.shape[-1:], self["encoder.%s.norm.weight" % view], self["encoder.%s.norm.bias" % view],
                            NORM_EPSILON)

    def tokens(self, view_rows, present, embedding, known, count):
        """z (N, d) = sum over m of g_m z_m; g = softmax of the gates' scores over what the item has. The embedding's own score
        grows with log(1 + the item's events in the training data): what was seen often needs its content less.
          view_rows, present   for each modality x~ (N, r) and whether the item has it (N)
          embedding, known     (N, d), (N)          count   (N) events in the training data, 0 where unknown"""
        parts, scores, there = [], [], []
        for view, x in view_rows.items():
            z = self.project(view, x)
            parts.append(z)
            scores.append(self.gate_score(z, self["encoder.%s.gate" % view]))
            there.append(present[view])
        parts.append(embedding)
        scores.append(self.gate_score(embedding, self["encoder.id.gate"]) + self["encoder.gate.count"] * torch.log1p(count))
        there.append(known)
        there = torch.stack(there, dim=1)                                          # (N, parts)
        scores = torch.stack(scores, dim=1).masked_fill(~there, -math.inf)
        scores = torch.where(there.any(1, keepdim=True), scores, torch.zeros_like(scores))
        gates = F.softmax(scores, dim=1) * there                                   # an item with nothing: zeros
        return torch.einsum("ip,ipd->id", gates, torch.stack(parts, dim=1))

    def encode(self, items):
        """Rows of N items."""
        embedding, known, count = self.id_rows(items.names)
        view, role = {}, {}
        for name, v in self.views.items():
            view[name] = embedding if v["modality"] == "id" else self.components(name, items.vectors[name])
            role[name] = self.roles(name, view[name])
        if self.architecture["blocks"] == 0:
            return Rows(view, role, None, None)
        modalities = {name: x for name, x in view.items() if self.views[name]["modality"] != "id"}
        token = self.tokens(modalities, items.present, embedding, known, count)
        return Rows(view, role, token, token @ self["encoder.output.weight"])

    # ---- the sequence part

    def relative_bias(self, block, bucket, behaviour):
        """Of row i on event j, (n, h, L, L): how many steps ago, how long ago, what it was; minus infinity on later ones.
          bucket (n, L, L)     behaviour (n, L)"""
        L, name = bucket.shape[1], "block.%d." % block
        age = torch.arange(L)[:, None] - torch.arange(L)[None, :]                       # i - j
        position = self[name + "position"][:, age.clamp(min=0, max=POSITIONS - 1)].masked_fill(age < 0, -math.inf)
        time = self[name + "time"][:, bucket].transpose(0, 1)
        what = self[name + "behaviour"][:, behaviour.clamp(min=0)] * (behaviour >= 0)   # (h, n, L)
        return time + position + what.transpose(0, 1)[:, :, None, :]

    def weights(self, q, k, bias):
        """softmax(Q K' / sqrt(width) + bias): (n, h, L, L) from q, k (n, h, L, width)."""
        return F.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias, dim=-1)

    def attention(self, block, x, bias, drop):
        """Heads side by side, each the weighted sum of its V. (n, L, d) -> (n, L, d)"""
        n, L, d = x.shape
        h = self.architecture["heads"]
        q, k, v = (x @ self["block.%d.qkv.weight" % block]).view(n, L, 3, h, d // h).permute(2, 0, 3, 1, 4)
        return (drop(self.weights(q, k, bias)) @ v).transpose(1, 2).reshape(n, L, d)

    def swiglu(self, block, x):
        """(SiLU(x G) * x U) W (Shazeer 2020); G, U (d, f), W (f, d)"""
        name = "block.%d.ffn." % block
        return (F.silu(x @ self[name + "gate.weight"]) * (x @ self[name + "up.weight"])) @ self[name + "down.weight"]

    def gated_residual(self, block, gate, x, update):
        """x + sigmoid(x G + b) * update (Borisyuk et al. 2024)"""
        name = "block.%d.%s." % (block, gate)
        return x + torch.sigmoid(x @ self[name + "weight"] + self[name + "bias"]) * update

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self[name + ".weight"], self[name + ".bias"], NORM_EPSILON)

    def states(self, token, behaviour, bucket, drop=keep, drop_weights=keep):
        """u (n, L, d), the user after each event.
          token (n, L, d)     behaviour (n, L)     bucket (n, L, L), see buckets"""
        known = (behaviour >= 0)[:, :, None]
        x = drop(token + self["sequence.behaviour"][behaviour.clamp(min=0)] * known)
        for b in range(self.architecture["blocks"]):
            bias = self.relative_bias(b, bucket, behaviour)
            y = self.attention(b, self.norm("block.%d.norm1" % b, x), bias, drop_weights)
            x = self.gated_residual(b, "gate1", x, drop(y @ self["block.%d.out.weight" % b]))
            x = self.gated_residual(b, "gate2", x, drop(self.swiglu(b, self.norm("block.%d.norm2" % b, x))))
        return self.norm("sequence.norm", x)

    def state(self, rows, history, now_ms):
        """u (d) of one user, after the last event."""
        token = gather(rows.token, history.item)
        from_ms = torch.cat([history.ts_ms[1:], torch.tensor([now_ms])])
        bucket = buckets(history.ts_ms[None], from_ms[None])
        return self.states(token[None], history.behaviour[None], bucket)[0, -1]

    # ---- streams of one user

    def compare(self, index, q, k):
        """q against k in the way of the similarity, of every head: (h, C, L) from q (C, r), k (L, r)."""
        similarity = self.architecture["similarities"][index]
        q, k = heads(q, similarity["heads"]), heads(k, similarity["heads"])              # (h, C, r/h), (h, L, r/h)
        if similarity["kind"] == "additive":
            return torch.tanh(q[:, :, None, :] + k[:, None, :, :]) @ self["similarity.%d.additive" % index]
        if similarity["kind"] == "cosine":
            q, k = unit(q), unit(k)
        return q @ k.transpose(1, 2)

    def pick(self, index, rows, candidates, history, now_ms):
        """softmax over the history (h, C, L): who deserves attention.
             sharpness q.k + position[age] + time[now - t] + behaviour[b]
        Events that are masked, or not among the `hard` best, get nothing; where none is left, all get nothing."""
        similarity = self.architecture["similarities"][index]
        name = "similarity.%d." % index
        q = rows.role[similarity["candidate"]]["query"][candidates]
        k = gather(rows.role[similarity["history"]]["key"], history.item)
        age = torch.arange(len(history.item) - 1, -1, -1).clamp(max=POSITIONS - 1)
        bias = self[name + "position"][age] + self[name + "time"][time_bucket(now_ms - history.ts_ms)]
        bias = bias + self[name + "behaviour"][history.behaviour.clamp(min=0)] * (history.behaviour >= 0)
        logits = self.compare(index, q, k) * self[name + "sharpness"][:, None, None] + bias
        if similarity["mask_missing"]:
            logits = logits.masked_fill((k == 0).all(dim=1), -math.inf)
        if 0 < similarity["hard"] < logits.shape[-1]:
            least = logits.topk(similarity["hard"], dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -math.inf)
        some = torch.isfinite(logits).any(dim=-1, keepdim=True)
        return F.softmax(torch.where(some, logits, torch.zeros_like(logits)), dim=-1) * some

    def judge(self, index, rows, candidates, history):
        """value[b] (r . v), (h, C, L): what the event says about the candidate."""
        similarity = self.architecture["similarities"][index]
        r = heads(rows.role[similarity["candidate"]]["candidate_value"][candidates], similarity["heads"])
        v = heads(gather(rows.role[similarity["history"]]["history_value"], history.item), similarity["heads"])
        return (r @ v.transpose(1, 2)) * self.value(history)

    def value(self, history):
        """The model's value of a behaviour; the configured weight where the model does not know it. (L)"""
        known = history.behaviour >= 0
        return torch.where(known, self["head.value"][history.behaviour.clamp(min=0)], history.weight)

    def streams(self, rows, candidates, history, now_ms, popularity):
        """(C, streams): gamma(c) sum over heads and events of pick_m[l] judge_n[l]; gamma grows with the candidate's count."""
        out = []
        picks, judges = {}, {}
        for index, stream in enumerate(self.architecture["streams"]):
            m, n = stream["pick"], stream["judge"]
            if m not in picks:
                picks[m] = self.pick(m, rows, candidates, history, now_ms)
            if n not in judges:
                judges[n] = self.judge(n, rows, candidates, history)
            gamma = self["head.stream"][index] + self["head.stream_count"][index] * torch.log1p(popularity)
            out.append(gamma * (picks[m] * judges[n]).sum(dim=(0, 2)))
        return torch.stack(out, dim=1) if out else popularity.new_zeros(len(candidates), 0)

    # ---- counts

    def cooccurrence(self, probability, history):
        """w sum over l of decay^age value[b_l] (log(1 + P[i_l -> c] / epsilon) + rho log(1 + P'[c -> i_l] / epsilon)), (C);
        probability (2, L, C): P and P'. With no gradient of which events are too old to count."""
        decay = self["head.decay"] ** torch.arange(len(history.item) - 1, -1, -1)
        decay = decay * (decay.detach().abs() >= NEGLIGIBLE)
        after, before = torch.log1p(probability / self["head.epsilon"])
        return self["head.cooccurrence"] * ((decay * self.value(history)) @ (after + self["head.reverse"] * before))

    def prior(self, popularity, recent):
        """How often, and how often lately, all users chose it. (C)"""
        return self["head.popularity"] * torch.log1p(popularity) + self["head.recent"] * torch.log1p(recent)

    def novelty(self, popularity):
        """Part of the prior where there is a history: what is new has less to speak for it than what others met. (C)"""
        return self["head.novelty"] / (1 + popularity)

    # ---- the sum

    def parts(self, rows, candidates, history, now_ms, probability, popularity, recent):
        """(C, 3 + streams): sequence, co-occurrence, prior, then each stream. Their sum is the score.
          probability (2, L, C) of the counts: P[event -> candidate], how often the candidate was what followed, and
          P'[candidate -> event], how often it was what came before     popularity, recent (C): of the counts as well"""
        nothing = torch.zeros_like(popularity)
        if len(history.item) == 0:
            streams = popularity.new_zeros(len(candidates), len(self.architecture["streams"]))
            return torch.cat([torch.stack([nothing, nothing, self.prior(popularity, recent)], dim=1), streams], dim=1)
        sequence = nothing
        if self.architecture["blocks"] > 0:
            sequence = self["head.sequence"] * (rows.output[candidates] @ self.state(rows, history, now_ms))
        cooccurrence = self.cooccurrence(probability, history)
        prior = self.prior(popularity, recent) + self.novelty(popularity)
        first = torch.stack([sequence, cooccurrence, prior], dim=1)
        return torch.cat([first, self.streams(rows, candidates, history, now_ms, popularity)], dim=1)


# ---- every tensor of an architecture, and a model of random ones

def shapes(architecture, items):
    """Name -> shape of all tensors, with `items` rows of the ID embedding."""
    d, f, h = architecture["width"], architecture["feedforward"], architecture["heads"]
    B, G = len(architecture["behaviours"]), GATE_WIDTH
    components = {view["name"]: view["components"] for view in architecture["views"]}
    out = {}
    for view in architecture["views"]:
        name, D, r, correction = view["name"], view["dimension"], view["components"], view["correction"]
        if view["modality"] != "id":
            out.update({"view.%s.mean" % name: (D,), "view.%s.rotation" % name: (D, r)})
        for role in ROLES if correction > 0 else ():
            out.update({"view.%s.%s.down" % (name, role): (r, correction), "view.%s.%s.up" % (name, role): (correction, r)})
        if view["modality"] != "id" and architecture["blocks"] > 0:
            prefix = "encoder.%s." % name
            out.update({prefix + "weight": (r, d), prefix + "bias": (d,), prefix + "norm.weight": (d,),
                        prefix + "norm.bias": (d,), prefix + "gate": (G,)})
    if architecture["blocks"] > 0:
        out.update({"encoder.id.embedding": (items, d), "encoder.id.gate": (G,), "encoder.gate.weight": (d, G),
                    "encoder.gate.out": (G,), "encoder.gate.count": (1,), "encoder.output.weight": (d, d),
                    "sequence.behaviour": (B, d), "sequence.norm.weight": (d,), "sequence.norm.bias": (d,),
                    "head.sequence": (1,)})
    for b in range(architecture["blocks"]):
        block = {"norm1.weight": (d,), "norm1.bias": (d,), "qkv.weight": (d, 3 * d), "out.weight": (d, d),
                 "gate1.weight": (d, d), "gate1.bias": (d,), "norm2.weight": (d,), "norm2.bias": (d,),
                 "ffn.up.weight": (d, f), "ffn.gate.weight": (d, f), "ffn.down.weight": (f, d), "gate2.weight": (d, d),
                 "gate2.bias": (d,), "position": (h, POSITIONS), "time": (h, TIME_BUCKETS), "behaviour": (h, B)}
        out.update({"block.%d.%s" % (b, name): shape for name, shape in block.items()})
    for i, similarity in enumerate(architecture["similarities"]):
        count = similarity["heads"]
        head = {"sharpness": (count,), "additive": (components[similarity["candidate"]] // count,),
                "position": (POSITIONS,), "time": (TIME_BUCKETS,), "behaviour": (B,)}
        out.update({"similarity.%d.%s" % (i, name): shape for name, shape in head.items()})
    streams = len(architecture["streams"])
    out.update({"head.stream": (streams,), "head.stream_count": (streams,), "head.value": (B,)})
    out.update({"head." + name: (1,) for name in ("cooccurrence", "reverse", "epsilon", "decay", "popularity", "recent", "novelty")})
    return out


def random_network(architecture, names, seed, dtype=torch.float64):
    """Numbers of the size that training gives."""
    rng = torch.Generator().manual_seed(seed)
    known = names if architecture["blocks"] > 0 else []
    parameters = {}
    for name, shape in sorted(shapes(architecture, len(known)).items()):
        noise = torch.randn(shape, generator=rng)
        if "norm" in name and name.endswith("weight"):
            noise = 1 + 0.1 * noise
        elif name.endswith("sharpness"):
            noise = 4 + noise
        elif name in HEAD_MEANS:
            noise = HEAD_MEANS[name] * (1 + 0.1 * torch.tanh(noise))
        else:
            noise = 0.25 * noise
        parameters[name] = noise.to(torch.float32).to(dtype)  # as the file has it
    count = torch.randint(0, 50, (len(known),), generator=rng).to(dtype)
    return Network(architecture, parameters, known, count)


def gather(rows, index):
    """rows[index], zeros where index is -1."""
    return rows[index.clamp(min=0)] * (index >= 0)[:, None]


def heads(x, count):
    """Slices of the components: (N, r) -> (heads, N, r / heads)."""
    return x.view(x.shape[0], count, -1).transpose(0, 1)
