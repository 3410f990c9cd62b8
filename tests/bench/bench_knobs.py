# SPDX-License-Identifier: Apache-2.0
"""What each knob costs and brings: relevance (NDCG@10 of each user's last event, which the shop does not have) against diversity,
and the time of a request against one without the knob, asked in turn in one run. Writes build/bench-knobs.md and a plot for each
set, build/bench-knobs-SET.svg."""
import argparse
import math
import os
import random
import shutil
import statistics
import sys
import tempfile

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
import daemon  # noqa: E402
from daemon import until  # noqa: E402

BUILD = os.path.join(daemon.ROOT, "build")
MODALITIES = {"scientific-clip": ("text", "image"), "ml1m": ("text", "image")}
LEVELS = (.1, .25, .5, .75, .9)
KNOBS = [("diversity", {}), ("diversity", {"rerank": "mmr"}), ("novelty", {}), ("serendipity", {}), ("calibration", {}),
         ("cap", {})]
N = 10
TIME_MOST = {"diversity": .10}  # how much longer a request may take; the others .20
OTHERS_MOST = .20


def name_of(knob, more):
    return knob + (" (mmr)" if more.get("rerank") == "mmr" else "")


def split(folder, name, out, without=()):
    """The log without each user's last event, and without any of the items `without`, to `out`; user -> the last event's item, and
    the histories."""
    last, history = {}, {}
    with open(os.path.join(folder, name + ".inter"), encoding="utf-8") as source, open(out, "w", encoding="utf-8") as kept:
        kept.write(source.readline())
        rows = [line.rstrip("\n").split("\t") for line in source]
        order = sorted(range(len(rows)), key=lambda r: (rows[r][0], float(rows[r][2]), r))
        for i, r in enumerate(order):
            user = rows[r][0]
            if i + 1 == len(order) or rows[order[i + 1]][0] != user:
                last[user] = rows[r][1]
            elif rows[r][1] not in without:
                history.setdefault(user, []).append(rows[r][1])
                kept.write("\t".join(rows[r]) + "\n")
    return {u: i for u, i in last.items() if u in history}, history


class Items:
    """Vectors (all modalities side by side, each of length 1/sqrt(modalities)), categories, events of each item."""

    def __init__(self, folder, name, history):
        self.names, self.categories = [], {}
        with open(os.path.join(folder, name + ".item"), encoding="utf-8") as source:
            source.readline()
            for line in source:
                cells = line.rstrip("\n").split("\t")
                self.names.append(cells[0])
                self.categories[cells[0]] = [c.strip() for c in (cells[2] if len(cells) > 2 else "").split(",") if c.strip()]
        row = {item: r for r, item in enumerate(self.names)}
        parts = []
        for modality in MODALITIES[name]:
            matrix = numpy.load(os.path.join(folder, modality + "_feat.npy")).astype(numpy.float32)
            ids = os.path.join(folder, modality + "_feat.ids")
            whole = numpy.zeros((len(self.names), matrix.shape[1]), numpy.float32)
            rows = [row[i.strip()] for i in open(ids, encoding="utf-8")] if os.path.exists(ids) else range(len(self.names))
            matrix = matrix - matrix.mean(axis=0)
            whole[list(rows)] = matrix / numpy.maximum(numpy.linalg.norm(matrix, axis=1, keepdims=True), 1e-9)
            parts.append(whole / math.sqrt(len(MODALITIES[name])))
        self.row, self.vectors = row, numpy.concatenate(parts, axis=1)
        self.events = {}
        for items in history.values():
            for item in items:
                self.events[item] = self.events.get(item, 0) + 1

    def distance(self, names):
        """Mean of 1 - cosine over the pairs."""
        if len(names) < 2:
            return 0
        v = self.vectors[[self.row[i] for i in names]]
        pairs = len(names) * (len(names) - 1)
        return 1 - (float((v @ v.T).sum()) - float((v * v).sum())) / pairs

    def mix(self, names):
        mass = {}
        for item in names:
            for category in self.categories[item]:
                mass[category] = mass.get(category, 0) + 1 / len(self.categories[item])
        total = sum(mass.values())
        return {c: m / total for c, m in mass.items()} if total else {}

    def divergence(self, history, names):
        p, q = self.mix(history), self.mix(names)
        return sum(p[c] * math.log(p[c] / (.99 * q.get(c, 0) + .01 * p[c])) for c in p) if p and q else 0

    def far(self, history, names):
        met = self.vectors[[self.row[i] for i in history[-50:]]]
        return float((1 - (self.vectors[[self.row[i] for i in names]] @ met.T).max(axis=1)).mean())


class Tally:
    def __init__(self):
        self.gain, self.distance, self.known, self.divergence, self.far = [], [], [], [], []
        self.items, self.time_us = set(), []

    def add(self, items, names, target, history, took_us):
        self.gain.append(1 / math.log2(2 + names.index(target)) if target in names else 0)
        self.distance.append(items.distance(names))
        self.known.append(statistics.fmean(math.log1p(items.events.get(i, 0)) for i in names))
        self.divergence.append(items.divergence(history, names))
        self.far.append(items.far(history, names))
        self.items |= set(names)
        self.time_us.append(took_us)


def settings():
    yield "none", 0, {}
    for knob, more in KNOBS:
        if knob == "cap":
            yield "cap", 1, {"caps": [{"by": "category", "most": 1, "window": 3}]}
            continue
        for level in LEVELS:
            yield name_of(knob, more), level, {knob: level, **more}


def open_shop(server, folder, name, inter):
    """Start it, import, wait for the model and the counts; a client."""
    server.start()
    features = [a for m in MODALITIES[name] for a in ("--feature", "%s=%s" % (m, os.path.join(folder, m + "_feat.npy")))]
    done = daemon.run(daemon.RECSYSCTL, "--endpoint", server.endpoint, "-q", "import", "--items",
                      os.path.join(folder, name + ".item"), *features, "--inter", inter, timeout=1800)
    if done.returncode != 0:
        raise SystemExit("import of %s: %s" % (name, done.stderr.strip()))
    client = server.json()
    until(lambda: all(f["in_model"] for f in client.call("status")["features"]), "a model")
    until(lambda: int(client.call("status")["counts"]) >= int(client.call("status")["seq"]) - 50, "counts of the import")
    return client


def measure(name, folder, users, seed):
    directory = tempfile.mkdtemp(prefix="recsysd-knobs-")
    inter = os.path.join(directory, name + ".inter")
    last, history = split(folder, name, inter)
    items = Items(folder, name, history)
    server = daemon.Daemon(directory, settings={"storage.durability": "normal", "server.workers": 1})
    tallies = {}
    try:
        client = open_shop(server, folder, name, inter)
        chosen = random.Random(seed).sample(sorted(last), min(users, len(last)))
        for user in chosen:
            client.call("recommend", user=user, n=N)  # the history is in memory from then on
            for knob, level, params in settings():  # in turn, so that every setting sees the same machine
                reply = client.call("recommend", user=user, n=N, **params)
                names = [i["item"] for i in reply["items"]]
                tallies.setdefault((knob, level), Tally()).add(items, names, last[user], history[user], int(reply["took_us"]))
        blas = client.call("server.info")["libraries"]["blas"]
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)
    return tallies, len(chosen), len(items.names), blas


def table(name, tallies, users, count, blas):
    lines = ["## %s" % name, "", "%d users, %d items, default model, lists of %d, pool 200, BLAS core type %s." % (users, count, N, blas), "",
             "| knob | level | NDCG@10 | relevance kept | distance within | log events | KL to the history's mix | far from history | items shown | time |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    plain, late = tallies[("none", 0)], []
    base = statistics.fmean(plain.gain)
    for (knob, level), t in tallies.items():
        ratio = statistics.median(t.time_us) / statistics.median(plain.time_us)
        most = 1 + TIME_MOST.get(knob, OTHERS_MOST)
        if ratio > most:
            late.append("%s: %s %g takes %.2f of a request without it, at most %.2f" % (name, knob, level, ratio, most))
        lines.append("| %s | %g | %.4f | %.0f %% | %.3f | %.2f | %.3f | %.3f | %d | %.2f |" % (
            knob, level, statistics.fmean(t.gain), 100 * statistics.fmean(t.gain) / base if base else 0,
            statistics.fmean(t.distance), statistics.fmean(t.known), statistics.fmean(t.divergence), statistics.fmean(t.far),
            len(t.items), ratio))
    lines += ["", "A request without a knob takes %d µs (median)." % statistics.median(plain.time_us), ""]
    return lines, late


def plot(name, tallies, path):
    """Relevance kept over distance within the list, a line for each knob."""
    colours = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b"]
    plain = tallies[("none", 0)]
    base, start = statistics.fmean(plain.gain) or 1, statistics.fmean(plain.distance)
    curves = {}
    for (knob, level), t in tallies.items():
        if knob != "none":
            curves.setdefault(knob, [(start, 1.0)]).append((statistics.fmean(t.distance), statistics.fmean(t.gain) / base))
    xs = [x for points in curves.values() for x, _ in points]
    low, high = min(xs), max(xs) + 1e-9
    at = lambda x, y: (60 + 520 * (x - low) / (high - low), 360 - 320 * max(0, min(1.1, y)) / 1.1)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 410" font-family="sans-serif" font-size="12">',
           '<rect width="760" height="410" fill="white"/>',
           '<text x="60" y="22" font-size="14">%s: relevance kept against distance within the list</text>' % name]
    for tick in (0, .25, .5, .75, 1):
        _, y = at(low, tick)
        out.append('<line x1="60" x2="580" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="20" y="%.1f">%d %%</text>' % (
            y, y, y + 4, 100 * tick))
    out.append('<text x="60" y="385">%.3f</text><text x="550" y="385">%.3f</text><text x="230" y="402">mean 1 - cosine of pairs</text>' % (low, high))
    for k, (knob, points) in enumerate(sorted(curves.items())):
        colour = colours[k % len(colours)]
        out.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' % (
            colour, " ".join("%.1f,%.1f" % at(x, y) for x, y in points)))
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*at(x, y), colour) for x, y in points]
        out.append('<text x="600" y="%d" fill="%s">%s</text>' % (60 + 18 * k, colour, knob))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", dest="sets", choices=sorted(MODALITIES))
    parser.add_argument("--data", default=os.path.join(os.path.dirname(daemon.ROOT), "shared", "data"))
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    lines, late = ["# Knobs", "", "Made by `make bench-knobs`. Time is the engine's, as a ratio to a request without a knob, medians, in turn in one run.", ""], []
    for name in options.sets or ["scientific-clip", "ml1m"]:
        tallies, users, count, blas = measure(name, os.path.join(options.data, name), options.users, options.seed)
        more, slow = table(name, tallies, users, count, blas)
        print("\n".join(more))
        lines += more + ["![%s](bench-knobs-%s.svg)" % (name, name), ""]
        late += slow
        plot(name, tallies, os.path.join(BUILD, "bench-knobs-%s.svg" % name))
    lines += ["* " + sentence for sentence in late]
    with open(os.path.join(BUILD, "bench-knobs.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(late) or "every knob within its time")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
