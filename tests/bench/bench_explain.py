# SPDX-License-Identifier: Apache-2.0
"""What explaining costs: lists of 10 with explain none, reason and full, asked in turn for the same users. Time of the server, from its
reply header, and what a client waits, by protobuf and by JSON. Writes build/bench-explain.md; 1 where reasons or terms take too long."""
import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time

import bench_knobs
from bench_knobs import BUILD, MODALITIES, N, daemon

import protobuf

LEVELS = ("none", "reason", "full")
MOST = {"reason": 1.10, "full": 1.60}  # of the median without; the server's time, by protobuf
WARM = 3  # requests of each user that do not count: the history is in memory then


class Tally:
    def __init__(self):
        self.server_us, self.waited_us, self.bytes = [], [], []


def ask_protobuf(client, tally, **params):
    began = time.perf_counter()
    client.send_call("recommend", params)
    frames = client.receive()
    tally.waited_us.append(1e6 * (time.perf_counter() - began))
    header = protobuf.decode("ReplyHeader", frames[0])
    if header["code"] != 0:
        raise SystemExit("recommend: %s" % header["message"])
    tally.server_us.append(header["server_us"])
    tally.bytes.append(len(frames[1]))


def ask_json(client, tally, **params):
    began = time.perf_counter()
    client.send_call("recommend", params)
    frames = client.receive()
    tally.waited_us.append(1e6 * (time.perf_counter() - began))
    if daemon.json_error(json.loads(frames[-1])) is not None:
        raise SystemExit("recommend: %s" % frames[-1].decode())
    tally.bytes.append(len(frames[-1]))


def measure(name, folder, users, seed):
    """{(encoding, level): Tally}, and the number of users."""
    directory = tempfile.mkdtemp(prefix="recsysd-explain-")
    server = daemon.Daemon(directory, settings={"storage.durability": "normal", "server.workers": 1})
    tallies = {(encoding, level): Tally() for encoding in ("protobuf", "JSON") for level in LEVELS}
    try:
        inter = os.path.join(folder, name + ".inter")
        bench_knobs.open_shop(server, folder, name, inter)
        with open(inter, encoding="utf-8") as source:
            source.readline()
            names = sorted({line.split("\t")[0] for line in source})
        chosen = random.Random(seed).sample(names, min(users, len(names)))
        for encoding, ask, client in (("protobuf", ask_protobuf, server.protobuf()), ("JSON", ask_json, server.json())):
            for number, user in enumerate(chosen):
                for _ in range(WARM):
                    ask(client, Tally(), user=user, n=N)
                for k in range(len(LEVELS)):  # each comes first as often as last
                    level = LEVELS[(number + k) % len(LEVELS)]
                    ask(client, tallies[encoding, level], user=user, n=N, explain=level)
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)
    return tallies, len(chosen)


def ratio(tallies, encoding, level, what):
    return statistics.median(getattr(tallies[encoding, level], what)) / statistics.median(getattr(tallies[encoding, "none"], what))


def table(name, tallies, users):
    lines = ["## %s" % name, "", "%d users, lists of %d, default model, one worker." % (users, N), "",
             "| encoding | explain | server, median µs | p95 µs | times none | client waits, median µs | p95 µs | times none | bytes |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    late = []
    for (encoding, level), tally in tallies.items():
        cells = []
        for what in ("server_us", "waited_us"):
            values = sorted(getattr(tally, what))
            cells += ["%.0f" % statistics.median(values), "%.0f" % values[int(.95 * len(values))],
                      "%.2f" % ratio(tallies, encoding, level, what)] if values else ["", "", ""]
        lines.append("| %s | %s | %s | %.0f |" % (encoding, level, " | ".join(cells), statistics.median(tally.bytes)))
    for level, most in MOST.items():
        times = ratio(tallies, "protobuf", level, "server_us")
        if times > most:
            late.append("%s: explain %s takes %.2f times none, at most %.2f" % (name, level, times, most))
    return lines + [""], late


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", dest="sets", choices=sorted(MODALITIES))
    parser.add_argument("--data", default=os.path.join(os.path.dirname(daemon.ROOT), "shared", "data"))
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    late, lines = [], ["# Explaining", "", "Made by `make bench-explain`. The server's time is from taking the request off the socket to "
                       "the reply; a client waits from sending it until the bytes of the reply are there. By JSON there is no header "
                       "to tell the server's time.", ""]
    for name in options.sets or ["scientific-clip", "ml1m"]:
        more, slow = table(name, *measure(name, os.path.join(options.data, name), options.users, options.seed))
        print("\n".join(more))
        lines += more
        late += slow
    lines += ["* " + sentence for sentence in late]
    with open(os.path.join(BUILD, "bench-explain.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(late) or "explaining is within its time")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
