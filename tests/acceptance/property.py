# SPDX-License-Identifier: Apache-2.0
"""Random (user, filter, rules, knobs) on real shops, each list held against an oracle: n items come back whenever n qualify and the caps allow
it; no excluded, hidden, expired, seen or out-of-cap item is ever there; the same request twice gives the same list. Prints the seed;
ends with 1 and the request where one does not hold."""
import argparse
import os
import random
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
import daemon  # noqa: E402
import lawful  # noqa: E402
from daemon import until  # noqa: E402

SETS = {"scientific-clip": ("text", "image"), "ml1m": ("text", "image")}
BATCH = 500
FIELDS = {"brand": ["b%d" % i for i in range(40)], "category": ["c%d" % i for i in range(12)],
          "colour": ["red", "green", "blue", "white"], "size": (0, 12), "price": (5, 95), "new": ["true", "false"]}


def describe(rng, name):
    """Made-up attributes for a real item."""
    item = {"item": name, "categories": rng.sample(FIELDS["category"], rng.choice([1, 1, 1, 2])),
            "attributes": {"brand": rng.choice(FIELDS["brand"]), "size": rng.randrange(13), "new": rng.random() < .3}}
    if rng.random() < .9:
        item["price"] = round(rng.uniform(5, 95), 2)
    if rng.random() < .8:
        item["attributes"]["colour"] = rng.sample(FIELDS["colour"], rng.choice([1, 1, 2]))
    hidden = rng.random()
    if hidden < .03:
        item["available"] = False
    elif hidden < .06:
        item["expires"] = "2020-01-01"
    elif hidden < .09:
        item["created"] = "2100-01-01"
    return item, hidden >= .09


def fill(server, folder, name, rng):
    server.start()
    features = [a for m in SETS[name] for a in ("--feature", "%s=%s" % (m, os.path.join(folder, m + "_feat.npy")))]
    done = daemon.run(daemon.RECSYSCTL, "--endpoint", server.endpoint, "-q", "import", "--items", os.path.join(folder, name + ".item"),
                      *features, "--inter", os.path.join(folder, name + ".inter"), timeout=1800)
    if done.returncode != 0:
        raise SystemExit("import of %s: %s" % (name, done.stderr.strip()))
    client, items, shown = server.json(), {}, set()
    with open(os.path.join(folder, name + ".item"), encoding="utf-8") as source:
        source.readline()
        for line in source:
            item, visible = describe(rng, line.split("\t")[0])
            items[item["item"]] = item
            shown |= {item["item"]} if visible else set()
    every = list(items.values())
    for first in range(0, len(every), BATCH):
        client.call("item.put", items=every[first:first + BATCH])
    seen = {}
    with open(os.path.join(folder, name + ".inter"), encoding="utf-8") as source:
        source.readline()
        for line in source:
            user, item = line.split("\t")[:2]
            seen.setdefault(user, set()).add(item)
    until(lambda: all(f["in_model"] for f in client.call("status")["features"]), "a model")
    return client, lawful.Shop(items), shown, seen


def check(client, shop, shown, seen, rng, requests):
    users, every, short = sorted(seen), sorted(shop.items), 0
    for k in range(requests):
        user, n = rng.choice(users), rng.choice([1, 5, 10, 30, 100])
        request = lawful.random_request(rng, FIELDS, every, ["brand", "category", "colour"])
        reply = client.call("recommend", user=user, n=n, **request)
        names = [i["item"] for i in reply["items"]]
        hidden = seen[user] if request.get("exclude_seen", True) else set()
        excluded = set(request.get("exclude", []))
        qualifying = {i for i in shown if i not in hidden and i not in excluded and shop.passes(i, request.get("filter", {}))}
        wrong = lawful.faults(shop, request, names, qualifying, n)
        if len(names) < n and not reply["shortened"]:
            wrong.append("shorter than n and nobody says why")
        again = client.call("recommend", user=user, n=n, now=reply["now_ms"], counts=reply["counts"], **request)
        if names != [i["item"] for i in again["items"]]:
            wrong.append("the same request gave another list")
        if wrong:
            print("request %d, user %s, n %d: %r\n  %s" % (k, user, n, request, "\n  ".join(wrong)))
            return False
        short += len(names) < n
    print("%d lists, %d of them shorter than n because no more may come in" % (requests, short))
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", dest="sets", choices=sorted(SETS))
    parser.add_argument("--data", default=os.path.join(os.path.dirname(daemon.ROOT), "shared", "data"))
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options, ok = parser.parse_args(), True
    for name in options.sets or sorted(SETS):
        rng, began = random.Random(options.seed), time.monotonic()
        directory = tempfile.mkdtemp(prefix="recsysd-property-")
        server = daemon.Daemon(directory, settings={"storage.durability": "normal"})
        try:
            client, shop, shown, seen = fill(server, os.path.join(options.data, name), name, rng)
            print("%s, seed %d: " % (name, options.seed), end="", flush=True)
            ok = check(client, shop, shown, seen, rng, options.requests) and ok
        finally:
            server.close()
            shutil.rmtree(directory, ignore_errors=True)
        print("  %.0f s" % (time.monotonic() - began))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
