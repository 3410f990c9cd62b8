# SPDX-License-Identifier: Apache-2.0
"""Ten thousand lists of random users of a real shop, logged and asked once more with another model by `recsysctl replay`: how many of their
items the other model lists, and where most changes. The request log must hold all of them and no user's name. Ends with 1 otherwise."""
import argparse
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time

import sets
from sets import daemon
from daemon import until

import protobuf

CHANGES_TOLD = 10
AHEAD = 200  # lists that may wait to be logged: what does not fit into the writer's queue is dropped
REPLAY_TIMEOUT_S = 3600
TEXTS = "recomm_id || ' ' || method || ' ' || scenario || ' ' || experiment || ' ' || variant || ' ' || model"


def random_list(rng, user, items):
    """(method, what is asked): mostly lists for a user."""
    kind, n = rng.random(), rng.choice([5, 10, 20])
    if kind < .75:
        request = {"user": user, "n": n}
        if rng.random() < .3:
            request["exclude"] = rng.sample(items, 3)
        if rng.random() < .3:
            request["diversity"] = rng.choice([.25, .5])
        return "recommend", request
    if kind < .85:
        return "rank", {"user": user, "items": rng.sample(items, 30), "n": n}
    if kind < .93:
        return "similar", {"items": rng.sample(items, 2), "user": user, "exclude_seen": True, "n": n}
    return "complement", {"items": rng.sample(items, 2), "user": user, "n": n}


def query(server, sql):
    database = sqlite3.connect("file:%s?mode=ro" % os.path.join(server.data_dir, "shop.db"), uri=True)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def logged(server):
    return query(server, "SELECT count(*) FROM request")[0][0]


def ask_lists(server, client, rng, users, items, count):
    """Until so many are in the log."""
    for number in range(count):
        method, request = random_list(rng, rng.choice(users), items)
        client.call(method, **request)
        if number % AHEAD == AHEAD - 1:
            until(lambda: logged(server) >= number + 1, "%d logged lists" % (number + 1))
    until(lambda: logged(server) >= count, "%d logged lists" % count)


def names_within(data, names):
    """Those of the names that are anywhere in these bytes."""
    return {data[at:at + size] for size in {len(name) for name in names} for at in range(len(data) - size + 1)} & names


def find_names(server, users):
    """The names of users in the request log, and how many requests there are."""
    names, found = {user.encode() for user in users}, set()
    known = protobuf.encode("RecommendRequest", {"user": users[0], "n": 10})
    if users[0].encode() not in names_within(known, names):
        raise SystemExit("a name that is there is not found: this check says nothing")
    rows = query(server, "SELECT %s, body FROM request" % TEXTS)
    for texts, body in rows:
        found |= names_within(texts.encode(), names) | names_within(body, names)
    return sorted(name.decode() for name in found), len(rows)


def tell(report):
    groups = report["groups"]
    requests = sum(group["requests"] for group in groups) or 1
    print("%s against %s: %d compared, %d skipped; overlap@n %.3f, equal %.1f %%, moved %.2f places" % (
        report["model"], report["other"], report["compared"], report["skipped"],
        sum(group["requests"] * group["mean_overlap"] for group in groups) / requests,
        100 * sum(group["equal"] for group in groups) / requests,
        sum(group["requests"] * group["mean_moved"] for group in groups) / requests))
    for change in report["changes"][:CHANGES_TOLD]:
        print("  %.2f for %s: without %s, with %s" % (change["overlap"], change.get("user", "") or "nobody",
                                                      " ".join(change.get("gone", [])), " ".join(change.get("came", []))))
    moved = ["%s %+d" % (item["item"], item["change"]) for item in report["items"][:CHANGES_TOLD]]
    print("  lists that an item is on more or less: %s" % ", ".join(moved))


def faults(report, count, version, found, rows):
    wrong = []
    if report["compared"] + report["skipped"] != count or report["skipped"] != 0:
        wrong.append("%d compared and %d skipped of %d" % (report["compared"], report["skipped"], count))
    if report["other"] != version or report["model"] == version:
        wrong.append("compared %s with %s, not with %s" % (report["model"], report["other"], version))
    if rows != count:
        wrong.append("%d requests are logged, %d were asked" % (rows, count))
    if found:
        wrong.append("the request log names %d users: %s" % (len(found), ", ".join(found[:10])))
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", default="scientific-clip")
    parser.add_argument("--data", default=sets.DATA)
    parser.add_argument("--model", metavar="FILE", help="the other model; without it one is trained in a hurry")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder, directory = os.path.join(options.data, options.set), tempfile.mkdtemp(prefix="recsysd-replay-")
    server = daemon.Daemon(directory, settings={**sets.SETTINGS, "requests.log": "all"})
    try:
        client = sets.open_shop(server, folder)
        version = sets.put_model(server, options.model or sets.train(server))
        users = sorted({cells[0] for cells in sets.rows_of(folder, ".inter")})
        items = sorted(cells[0] for cells in sets.rows_of(folder, ".item"))
        ask_lists(server, client, random.Random(options.seed), users, items, options.count)
        began = time.monotonic()
        done = daemon.run(daemon.RECSYSCTL, "--endpoint", server.endpoint, "-q", "-o", "json", "replay", "--model", version, "-n",
                          str(options.count), timeout=REPLAY_TIMEOUT_S)
        if done.returncode != 0:
            raise SystemExit("replay: %s" % done.stderr.strip())
        report, seconds = json.loads(done.stdout), time.monotonic() - began
        found, rows = find_names(server, users)
        loaded = [model["version"] for model in client.call("model.list")["models"] if model["state"] == "loaded"]
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)
    print("%s, seed %d, replayed in %.0f s" % (options.set, options.seed, seconds))
    tell(report)
    wrong = faults(report, options.count, version, found, rows)
    wrong += ["'%s' is still loaded" % model for model in loaded]
    print("\n".join(wrong) or "no name of a user in %d logged requests" % rows)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
