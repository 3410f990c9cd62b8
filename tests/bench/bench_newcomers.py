# SPDX-License-Identifier: Apache-2.0
"""New items: 2 % of the catalogue, chosen by a hash of the id, lose every event of the log. What share of the lists' places do they get,
and what does it cost, with exploration off and on? Beside it the same shop with nothing taken away. Writes
build/bench-newcomers.md."""
import argparse
import hashlib
import math
import os
import random
import shutil
import statistics
import tempfile

import bench_knobs
from bench_knobs import N, daemon

SHARE = .02
SETTINGS = [("off", {}), (".1", {"exploration": .1}), (".2", {"exploration": .2}), ("novelty .25", {"novelty": .25})]


def is_new(item):
    return int(hashlib.sha256(item.encode()).hexdigest()[:8], 16) < SHARE * 2 ** 32


def gain(names, target):
    return 1 / math.log2(2 + names.index(target)) if target in names else 0


def measure(name, folder, users, seed, new):
    directory = tempfile.mkdtemp(prefix="recsysd-newcomers-")
    inter = os.path.join(directory, name + ".inter")
    last, history = bench_knobs.split(folder, name, inter, without=new)
    server = daemon.Daemon(directory, settings={"storage.durability": "normal"})
    rows = {}
    try:
        client = bench_knobs.open_shop(server, folder, name, inter)
        chosen = random.Random(seed).sample(sorted(u for u in last if u in history), min(users, len(last)))
        for user in chosen:
            for setting, params in SETTINGS if new else SETTINGS[:1]:
                names = [i["item"] for i in client.call("recommend", user=user, n=N, **params)["items"]]
                rows.setdefault(setting, []).append((names, last[user]))
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)
    return rows


def table(name, folder, users, seed):
    with open(os.path.join(folder, name + ".item"), encoding="utf-8") as source:
        source.readline()
        items = [line.split("\t")[0] for line in source]
    new = {i for i in items if is_new(i)}
    whole = measure(name, folder, users, seed, ())["off"]
    rows = measure(name, folder, users, seed, new)
    known = statistics.fmean(gain(n, t) for n, t in whole if t not in new)
    lines = ["## %s" % name, "", "%d of %d items are new; %d users." % (len(new), len(items), len(whole)), "",
             "| exploration | places that new items get | new items shown | NDCG@10 | NDCG@10, targets that are known | kept | HR@10 of new targets |",
             "|---|--:|--:|--:|--:|--:|--:|",
             "| nothing taken away | %.2f %% | %d | %.4f | %.4f | | %.3f |" % (
                 100 * sum(i in new for n, _ in whole for i in n) / sum(len(n) for n, _ in whole),
                 len({i for n, _ in whole for i in n} & new), statistics.fmean(gain(n, t) for n, t in whole), known,
                 statistics.fmean([t in n for n, t in whole if t in new] or [0]))]
    for setting, lists in rows.items():
        shown = [i for n, _ in lists for i in n]
        of_known = statistics.fmean(gain(n, t) for n, t in lists if t not in new)
        lines.append("| %s | %.2f %% | %d | %.4f | %.4f | %.1f %% | %.3f |" % (
            setting, 100 * sum(i in new for i in shown) / len(shown), len(set(shown) & new),
            statistics.fmean(gain(n, t) for n, t in lists), of_known, 100 * of_known / known if known else 0,
            statistics.fmean([t in n for n, t in lists if t in new] or [0])))
    return lines + [""]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", dest="sets", choices=sorted(bench_knobs.MODALITIES))
    parser.add_argument("--data", default=os.path.join(os.path.dirname(daemon.ROOT), "shared", "data"))
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    lines = ["# Newcomers", "", "Made by `make bench-newcomers`: lists of %d by the default model." % N, ""]
    for name in options.sets or ["scientific-clip", "ml1m"]:
        lines += table(name, os.path.join(options.data, name), options.users, options.seed)
    with open(os.path.join(bench_knobs.BUILD, "bench-newcomers.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
