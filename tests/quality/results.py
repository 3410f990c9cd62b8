# SPDX-License-Identifier: Apache-2.0
"""Result files: SET-SEED-VARIANT.json, what `recsys-train evaluate` said with "quality" added, and
SET-SEED-VARIANT.ranks, where each target came. Gains per event, averaged over seeds, and the same events of two results
side by side."""
import json
import math
import os

INTEGERS = ("train_count", "history_length")
KEY = ("user", "at", "item")                               # name an event
FACTS = KEY + ("train_count", "history_length", "cold")    # columns that are no ranks


def ndcg(rank, k=10):
    """As models/evaluation.c: a tied rank of k + 1/2 still counts."""
    return 1 / math.log2(1 + rank) if rank < k + 1 else 0.0


def hit(rank, k=10):
    return 1.0 if rank < k + 1 else 0.0


class Broken(Exception):
    """A result that cannot be used; the sentence says which and why."""


def read_ranks(path):
    """{column: values}, from a header line and one line for each query, tab-separated."""
    with open(path, encoding="utf-8") as file:
        head = file.readline().rstrip("\n").split("\t")
        rows = [line.rstrip("\n").split("\t") for line in file]
    missing = [name for name in FACTS + ("model",) if name not in head]
    if missing:
        raise Broken("'%s': no column '%s'" % (path, missing[0]))
    if any(len(row) != len(head) for row in rows):
        raise Broken("'%s': a row has not %d columns" % (path, len(head)))
    columns = dict(zip(head, zip(*rows))) if rows else {name: () for name in head}
    try:
        for name in head:
            if name in INTEGERS:
                columns[name] = tuple(map(int, columns[name]))
            elif name not in FACTS:
                columns[name] = tuple(map(float, columns[name]))
    except ValueError as error:
        raise Broken("'%s': column '%s': %s" % (path, name, error)) from None
    columns["cold"] = tuple(cell in ("1", "true", "yes") for cell in columns["cold"])
    return columns


class Result:
    """One result file. The ranks are read when they are first asked for."""

    def __init__(self, path):
        self.path = path
        try:
            with open(path, encoding="utf-8") as file:
                self.json = json.load(file)
            self.quality = self.json["quality"]
            self.set, self.seed, self.variant = (self.quality[key] for key in ("set", "seed", "variant"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Broken("'%s' is no result: %s" % (path, error)) from None
        self._ranks = None

    @property
    def name(self):
        return "%s-%d-%s" % (self.set, self.seed, self.variant)

    @property
    def ranks(self):
        if self._ranks is None:
            try:
                self._ranks = read_ranks(self.path[:-len(".json")] + ".ranks")
            except OSError as error:
                raise Broken("'%s': %s" % (self.path, error.strerror)) from None
        return self._ranks

    @property
    def model(self):
        return self.json["model"]

    @property
    def baselines(self):
        return self.json.get("baselines") or {}

    @property
    def fit_s(self):
        """Seconds that fitting took from beginning to end; None where it was interrupted, or nothing was fitted."""
        fit = self.quality.get("fit") or {}
        return None if fit.get("resumed") else fit.get("seconds")

    def keys(self):
        keys = list(zip(*(self.ranks[name] for name in KEY)))
        if len(set(keys)) != len(keys):
            raise Broken("'%s': an event is there twice" % self.name)
        return keys

    def disagreement(self):
        """How far NDCG@10 by the ranks is from what evaluate printed: rounding only, or one of the two is wrong."""
        ranks = self.ranks["model"]
        return abs(sum(map(ndcg, ranks)) / max(len(ranks), 1) - self.model["ndcg@10"])


class Results:
    """All that are there, by set, seed and variant."""

    def __init__(self, found):
        self.by_job = {(r.set, r.seed, r.variant): r for r in found}

    def get(self, set_name, seed, variant="full"):
        return self.by_job.get((set_name, seed, variant))

    def seeds(self, set_name, variant="full"):
        return sorted(seed for name, seed, v in self.by_job if name == set_name and v == variant)

    def of(self, set_name, variant="full"):
        return [self.get(set_name, seed, variant) for seed in self.seeds(set_name, variant)]

    def sets(self):
        return {name for name, _, _ in self.by_job}


def load(directory):
    """(Results, sentences about files that are none)"""
    found, broken = [], []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        if name.endswith(".json"):
            try:
                found.append(Result(os.path.join(directory, name)))
            except Broken as error:
                broken.append(str(error))
    return Results(found), broken


def pooled(results, column="model", gain=ndcg):
    """{event: gain}, the mean over `results`, which are the seeds of one variant."""
    sums = {}
    for result in results:
        gains = dict(zip(result.keys(), map(gain, result.ranks[column])))
        if sums and gains.keys() != sums.keys():
            raise Broken("'%s' and '%s' are about different events" % (results[0].name, result.name))
        sums = {key: sums.get(key, 0.0) + value for key, value in gains.items()}
    return {key: value / len(results) for key, value in sums.items()}


def side_by_side(a, b, chosen=None):
    """(users, gains of a, gains of b) of the events `chosen`, or all, for bootstrap.paired."""
    if a.keys() != b.keys():
        raise Broken("two results to be compared are about different events")
    keys = [key for key in a if chosen is None or key in chosen]
    return [key[0] for key in keys], [a[key] for key in keys], [b[key] for key in keys]


# ---- slices: (group, name, does an event belong to it)

def between(column, low, high):
    return lambda facts: low <= facts[column] <= high


def slices(lacking):
    """`lacking`: {modality: items without it}"""
    most = float("inf")
    yield from (("target", name, between("train_count", low, high)) for name, low, high in (
        ("never seen in training", 0, 0), ("seen 1–5 times", 1, 5), ("seen 6–20 times", 6, 20),
        ("seen 21 times or more", 21, most)))
    yield from (("history", name, between("history_length", low, high)) for name, low, high in (
        ("of no event", 0, 0), ("of 1–5 events", 1, 5), ("of 6–20 events", 6, 20), ("of 21 events or more", 21, most)))
    for modality, items in sorted(lacking.items()):
        yield "target", "without " + modality, lambda facts, items=items: facts["item"] in items


def facts_of(result):
    """{event: {column: value}}"""
    names = FACTS[KEY.index("item"):]
    return {key: dict(zip(names, values)) for key, values in zip(result.keys(), zip(*(result.ranks[n] for n in names)))}


def read_column(path, skip_header):
    """The first column of a tab-separated file."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    return [line.split("\t")[0] for line in lines[1 if skip_header else 0:]]


def lacking_items(data_dir, set_name, modalities):
    """{modality: items of the set without a vector of it}; a modality that every item has is left out."""
    folder, lacking = os.path.join(data_dir, set_name), {}
    for modality in modalities:
        ids = os.path.join(folder, modality + "_feat.ids")
        items = os.path.join(folder, set_name + ".item")
        if os.path.exists(ids) and os.path.exists(items):
            without = set(read_column(items, True)) - set(read_column(ids, False))
            if without:
                lacking[modality] = without
    return lacking
