# SPDX-License-Identifier: Apache-2.0
"""What the C side computes against the reference (network.py), in double precision.

    compare.py DIRECTORY [--perturb FILE]

DIRECTORY is what dump_scores and dump_gradients wrote. Scores must agree to 1e-4 of the sum of their terms' sizes,
gradients to 1e-3 of the largest number of their tensor, beyond the rounding of single precision. --perturb writes the last model once more with every number moved
a little, which a daemon must then serve. Ends with "N compared, N differ"."""
import argparse
import json
import os
import sys

import torch

import gradients
from network import History, Items, Network

SCORE_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3
ROUNDING = 2.0 ** -24  # of single precision, relative
DOUBLE = torch.float64


def read_items(network, items):
    """Items as the dump has them: {"name", "vectors": {view: [numbers]}}; a view that is not there is missing."""
    vectors, present = {}, {}
    for name, view in network.views.items():
        if view["modality"] == "id":
            continue
        zeros = [0.0] * view["dimension"]
        vectors[name] = torch.tensor([item["vectors"].get(name, zeros) for item in items], dtype=DOUBLE)
        present[name] = torch.tensor([name in item["vectors"] for item in items])
    return Items([item["name"] for item in items], vectors, present)


def read_history(events):
    def column(key, dtype):
        return torch.tensor([event[key] for event in events], dtype=dtype)
    return History(column("item", torch.long), column("ts_ms", torch.long), column("behaviour", torch.long),
                   column("weight", DOUBLE))


def read_probability(entries, length, candidates):
    """(2, L, C) from [way, event, candidate, P], way 0: what followed the event, 1: what came before it."""
    probability = torch.zeros(2, length, candidates, dtype=DOUBLE)
    for way, event, candidate, p in entries:
        probability[way, event, candidate] = p
    return probability


def read_query(user):
    """(history, now_ms, probability, popularity, recent) of a line of the dump."""
    history = read_history(user["history"])
    popularity = torch.tensor(user["popularity"], dtype=DOUBLE)
    probability = read_probability(user["probability"], len(history.item), len(popularity))
    return history, user["now_ms"], probability, popularity, torch.tensor(user["recent"], dtype=DOUBLE)


def lines(directory, name):
    with open(os.path.join(directory, name), encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


class Tally:
    def __init__(self):
        self.compared = self.differ = 0
        self.worst = {}

    def add(self, what, error, tolerance, where):
        self.compared += 1
        self.worst[what] = max(self.worst.get(what, 0.0), error)
        if not error <= tolerance:  # NaN differs
            self.differ += 1
            print("differs: %s: %s: %.3g, allowed %.3g" % (what, where, error, tolerance))

    def report(self):
        for what, error in self.worst.items():
            print("  %-70s %.1e" % (what, error))
        print("%d compared, %d differ" % (self.compared, self.differ))
        return 1 if self.differ or not self.compared else 0


def compare_scores(directory, tally):
    """The last model, for those who want to write it."""
    network = rows = what = None
    for line in lines(directory, "scores.ndjson"):
        if "model" in line:
            network = Network.load(os.path.join(directory, line["model"]))
            rows = network.encode(read_items(network, line["items"]))
            what = "scores: " + line["what"]
            continue
        history, now_ms, *counts = read_query(line)
        wanted = network.parts(rows, torch.arange(len(counts[1])), history, now_ms, *counts)
        parts = torch.tensor(line["parts"], dtype=DOUBLE)
        size = wanted.abs().sum(dim=1).clamp(min=1)
        error = max(((parts - wanted).abs() / size[:, None]).max().item(),
                    ((parts - wanted).sum(dim=1).abs() / size).max().item())
        tally.add(what, error, SCORE_TOLERANCE, "a history of %d events" % len(history.item))
    return network


def loss_of_line(network, items, line):
    """What a line of gradients.ndjson is the loss of, as a function of the network's numbers."""
    if line["stage"] == "one":
        histories = [read_history(events) for events in line["histories"]]
        histories = [(h.item, h.ts_ms, h.behaviour, h.weight) for h in histories]
        return lambda: gradients.sequence_loss(network, network.encode(items), histories, line["mask_seen"],
                                               line["ahead"])
    query, hidden = read_query(line), torch.tensor(line["hidden"], dtype=torch.long)
    return lambda: gradients.total_loss(network, network.encode(items), query, line["target"], hidden)


def compare_gradients(directory, tally):
    network = items = what = None
    for line in lines(directory, "gradients.ndjson"):
        if "model" in line:
            network = Network.load(os.path.join(directory, line["model"]))
            items = read_items(network, line["items"])
            what = line["what"]
            continue
        loss, wanted = gradients.gradient(network, gradients.names_of_stage(network, line["stage"]),
                                          loss_of_line(network, items, line))
        stage = "stage %s: %s" % (line["stage"], what)
        tally.add(stage + ", loss", abs(line["loss"] - loss) / max(1.0, abs(loss)), SCORE_TOLERANCE, "loss")
        largest = max(g.abs().max().item() for g in wanted.values() if g.numel())
        for name, gradient in wanted.items():
            given = line["gradient"].get(name, [0.0] * gradient.numel())
            given = torch.tensor(given, dtype=DOUBLE).view(gradient.shape)
            if gradient.numel():
                error = (given - gradient).abs().max().item()
                error = max(0.0, error - ROUNDING * largest)  # a sum that cancels is as exact as what is in it
                scale = max(gradient.abs().max().item(), ROUNDING * largest)
                tally.add(stage, error / scale, GRADIENT_TOLERANCE, name)


def perturb(network, seed=1):
    """Every number that is trained, moved by a tenth of the spread of its tensor."""
    rng = torch.Generator().manual_seed(seed)
    for name, tensor in network.parameters.items():
        if tensor.numel() > 1 and not name.startswith("view."):
            noise = torch.randn(tensor.shape, generator=rng, dtype=tensor.dtype)
            network.parameters[name] = tensor + 0.1 * tensor.std() * noise


def main():
    parser = argparse.ArgumentParser(description="compare the C side's numbers with PyTorch's")
    parser.add_argument("directory")
    parser.add_argument("--perturb", metavar="FILE", help="write the last model, perturbed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tally = Tally()
    network = compare_scores(arguments.directory, tally)
    compare_gradients(arguments.directory, tally)
    if arguments.perturb:
        perturb(network)
        network.save(arguments.perturb)
    return tally.report()


if __name__ == "__main__":
    sys.exit(main())
