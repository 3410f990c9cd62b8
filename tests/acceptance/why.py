# SPDX-License-Identifier: Apache-2.0
"""Random (user, item, filter, rules, knobs) on real shops, and what is explained held against what can be known otherwise: terms add up to
scores; a list without some events is the list of a copy of the user who never had them; the stage that took an item out is the one that an
oracle names, and a gap the one between two places of the whole list. With the default model and a trained one. Prints the seed; ends
with 1 and the request where one does not hold."""
import argparse
import collections
import os
import random
import shutil
import sys
import tempfile
import time

import sets
from sets import daemon
from property import FIELDS, SETS, fill

import lawful
import terms

COPIES, EVENTS_MOST = 60, 2000  # users that have one, and events of such a user
WITHOUT_MOST = 200
WITHOUT_EVERY = 4  # of so many requests one is asked of a user and the copy
INPUTS = ("user", "now", "counts", "catalogue")
SCORED_BY = INPUTS + ("filter", "exclude", "exclude_seen", "boost", "price_ceiling", "weights", "current")  # the rest is order alone
UNSCORED = {"no_examples", "no_history", "unknown_user"}
BATCH = 500


class Fault(Exception):
    """Something does not hold; the sentence says what, with the request."""


class Shop:
    """A set as a shop, its oracle, and copies of some of its users: (user, copy, events that the copy lacks)."""

    def __init__(self, client, oracle, shown, seen, rng):
        self.client, self.oracle, self.shown, self.seen = client, oracle, shown, seen
        self.users, self.items = sorted(seen), sorted(oracle.items)
        self.copies, last = [], 0
        for user in rng.sample(self.users, len(self.users)):
            if len(self.copies) < COPIES and 3 <= int(client.call("user.history", user=user, n=1)["total"]) <= EVENTS_MOST:
                last = self.copy(user, rng)
        sets.settle(client, last)

    def copy(self, user, rng):
        """Somebody with the same events but for some; the position of the last."""
        events, name = self.client.call("user.history", user=user, n=EVENTS_MOST)["events"][::-1], "copy of %s" % user
        dropped = choose_dropped(events, rng)
        rows = [{"user": name, "item": event["item"], "behaviour": event["behaviour"], "ts": event["ts"]}
                for k, event in enumerate(events) if k not in dropped]
        for first in range(0, len(rows), BATCH):
            seq = self.client.call("event.add", events=rows[first:first + BATCH], cascade_create=True)["seq"]
        self.copies.append((user, name, [events[k]["seq"] for k in sorted(dropped)]))
        return seq


def choose_dropped(events, rng):
    """Numbers of some events, never of all: the newest, any, all of an item, nearly all."""
    count, kind = len(events), rng.random()
    if kind < .3:
        return set(range(count - rng.randint(1, min(5, count - 1)), count))
    if kind < .5:
        item = rng.choice(events)["item"]
        some = {k for k, event in enumerate(events) if event["item"] == item}
        return some if len(some) < count else set(range(1, count))
    if kind < .6 and count <= WITHOUT_MOST:
        return set(range(count)) - {rng.randrange(count)}
    return set(rng.sample(range(count), rng.randint(1, min(WITHOUT_MOST, count - 1))))


# ---- what is asked

def random_rules(rng, shop):
    request = lawful.random_request(rng, FIELDS, shop.items, ["brand", "category", "colour"])
    if rng.random() < .2:
        request["weights"] = {key: rng.choice([0, .5, 1, 2, 5]) for key in (*sets.MODALITIES, "behaviour", "popularity")
                              if rng.random() < .5}
    if rng.random() < .15:
        request["price_ceiling"] = rng.choice([.5, 1, 1.5, 2])
    return request


def random_list(rng, shop, user):
    """(method, what is asked) of any kind of list."""
    rules, kind = random_rules(rng, shop), rng.random()
    rules["n"] = rng.choice([1, 5, 10, 30])
    if kind < .6:
        if rng.random() < .2:
            rules["current"] = rng.sample(shop.items, 2)
        if rng.random() < .2:
            rules["events"] = [{"item": item, "behaviour": rng.choice(["view", "purchase", "dislike"])}
                               for item in rng.sample(shop.items, 3)]
        return "recommend", {"user": user, **rules}
    if kind < .72:
        return "rank", {"user": user, "items": rng.sample(shop.items, 100), **rules}
    if kind < .86:
        few = rng.sample(shop.items, rng.randint(1, 4))
        if rng.random() < .5:
            return "similar", {"items": few, **rules}
        return "similar", {"like": [{"item": item, "modalities": [rng.choice(sets.MODALITIES)]} for item in few], **rules}
    if kind < .93:
        return "complement", {"items": rng.sample(shop.items, 3), **rules}
    rules.pop("weights", None)
    return "top", {"by": rng.choice(["popular", "trending", "newest"]), **rules}


def choose_item(rng, shop, user, request, listed):
    """Of every kind: on the list, seen, excluded, hidden, unknown, any."""
    hidden = [item for item in shop.items if item not in shop.shown]
    of_kind = [(.3, listed), (.4, sorted(shop.seen[user])), (.48, request.get("exclude", [])), (.56, hidden), (.6, ["no such item"]),
               (.65, request.get("current", []))]
    draw = rng.random()
    return rng.choice(next((items for most, items in of_kind if draw < most and items), shop.items))


# ---- what must hold

def check(wrong, *asked):
    if wrong:
        raise Fault("%s\n  %s" % ("\n".join(map(repr, asked)), "\n  ".join(wrong)))


def check_sums(shop, method, request):
    """A list with its terms; the largest error of a sum."""
    reply = shop.client.call(method, explain="full", funnel=True, **request)
    unscored = method == "top" or bool(UNSCORED & set(reply["degraded"]))
    check(terms.list_faults(reply, whole=False) + terms.funnel_faults(reply, unscored) +
          terms.told_faults(shop.client.call(method, **request), reply), method, request)
    return reply, max(map(terms.sum_error, reply["items"]), default=0.0)


def expected_stage(shop, user, request, reply):
    """What takes the item out, or None: it qualifies."""
    item = reply["item"]
    if item not in shop.oracle.items:
        return "unknown"
    if item not in shop.shown:
        return "not_shown"
    if item in request.get("exclude", []):
        return "excluded"
    if item in request.get("current", []):
        return "current"
    if item in shop.seen[user] and request.get("exclude_seen", True):
        return "seen"
    if not shop.oracle.passes(item, request.get("filter", {})):
        return "filter"
    return "price_ceiling" if is_too_dear(shop, item, request, reply) else None


def is_too_dear(shop, item, request, reply):
    """Dearer than so many times the median price of the events attended to."""
    met = (shop.oracle.items[event["item"]].get("price") for event in reply["list"].get("history", []) if event.get("item"))
    prices, price = sorted(p for p in met if p is not None), shop.oracle.items[item].get("price")
    if "price_ceiling" not in request or not prices or price is None:
        return False
    return price > request["price_ceiling"] * ((prices[(len(prices) - 1) // 2] + prices[len(prices) // 2]) / 2)


def qualifying_faults(shop, request, reply):
    """Of an item that qualifies: listed, or passed over for a reason that the whole list, by score alone, confirms."""
    stage, counts = reply["stage"], terms.stage_counts(reply["list"])
    if stage not in ("listed", "outranked", "rules", "not_scanned"):
        return ["it qualifies, and stage is '%s'" % stage]
    if counts["scored"] < counts["price_ceiling"]:  # a large shop, of which only candidates have a score on the way
        return []
    if stage == "not_scanned":
        return ["everything is scored, and it was not scanned"]
    whole = shop.client.call("recommend", n=len(shop.items), **{key: request[key] for key in SCORED_BY if key in request})["items"]
    return place_faults(reply, whole) + order_faults(request, reply)


def place_faults(reply, whole):
    explained, there, wrong = reply["explained"], {item["item"]: item for item in whole}, []
    for item in (explained, reply.get("last")):
        if item is not None and (item["item"] not in there or not terms.are_near(item, there[item["item"]])):
            wrong.append("%s has %.9g, in the whole list %s" % (item["item"], item["score"], there.get(item["item"], {}).get("score")))
    margin = 2 * terms.tolerance(explained)
    above = sum(item["score"] > explained["score"] + margin for item in whole)
    level = sum(abs(item["score"] - explained["score"]) <= margin for item in whole)
    if not above + 1 <= reply.get("by_score", 0) <= above + level:
        wrong.append("by_score is %s, %d are above and %d level" % (reply.get("by_score"), above, level))
    return wrong


def order_faults(request, reply):
    stage, score, last = reply["stage"], reply["explained"]["score"], reply.get("last")
    if stage == "rules" and set(request) <= set(SCORED_BY):
        return ["there are no rules"]
    room = bool(reply["list"].get("shortened"))  # caps left places empty
    if last is not None and abs(last["score"] - score) > 2 * terms.tolerance(last) and (stage == "rules") != (room or score > last["score"]):
        return ["stage is '%s', it has %.9g and the last %.9g" % (stage, score, last["score"])]
    return []


def check_explain(shop, rng, user, request, listed):
    """Why an item is, or is not, on the list; the stage."""
    item = choose_item(rng, shop, user, request, listed)
    reply = shop.client.call("explain", item=item, request={**request, "funnel": True})
    wrong, expected = terms.explain_faults(reply, whole=False), expected_stage(shop, user, request, reply)
    if expected is not None and reply["stage"] != expected:
        wrong.append("stage is '%s', not '%s'" % (reply["stage"], expected))
    if expected is None:
        wrong += qualifying_faults(shop, {key: value for key, value in request.items() if key != "n"}, reply)
    check(wrong, "explain %s" % item, request)
    return reply["stage"]


def check_without(shop, rng, pinned):
    """A user without some events, and the copy that never had them."""
    user, copy, without = rng.choice(shop.copies)
    request = {**random_rules(rng, shop), "n": rng.choice([1, 10, 100]), **pinned}
    request.pop("exploration", None)  # what is drawn depends on the user's name
    difference = terms.difference(shop.client.call("recommend", user=user, without=without, **request),
                                  shop.client.call("recommend", user=copy, **request))
    check(["without %d events, and the copy: %s" % (len(without), difference)] if difference else [], user, without, request)


def run(shop, rng, requests):
    """All requests with the model that answers; a line of what was met."""
    plain = shop.client.call("recommend", user=shop.users[0], n=1)
    pinned = {key: plain[key + ("_ms" if key == "now" else "")] for key in ("now", "counts", "catalogue")}
    stages, worst, copies = collections.Counter(), 0.0, 0
    for k in range(requests):
        user = rng.choice(shop.users)
        method, request = random_list(rng, shop, user)
        try:
            reply, error = check_sums(shop, method, {**request, **pinned})
            if method != "recommend":
                request = {"user": user, "n": rng.choice([1, 5, 10, 30]), **random_rules(rng, shop)}
            request.pop("events", None)  # the oracle knows the log
            stages[check_explain(shop, rng, user, {**request, **pinned}, [item["item"] for item in reply["items"]])] += 1
            if k % WITHOUT_EVERY == 0:
                check_without(shop, rng, pinned)
                copies += 1
        except Fault as fault:
            raise Fault("request %d: %s" % (k, fault)) from None
        worst = max(worst, error)
    return "%s: %d requests, largest error of a sum %.1e of its size, %d lists like the copy's; %s" % (
        plain["model"], requests, worst, copies, ", ".join("%s %d" % stage for stage in stages.most_common()))


def examine(name, options, given):
    directory = tempfile.mkdtemp(prefix="recsysd-why-")
    server = daemon.Daemon(directory, settings={**sets.SETTINGS, "limits.list": 100000})
    rng = random.Random("%s %d" % (name, options.seed))
    try:
        shop = Shop(*fill(server, os.path.join(options.data, name), name, rng), rng)
        print("%s, seed %d, %s" % (name, options.seed, run(shop, rng, options.requests)), flush=True)
        version = sets.put_model(server, given or sets.train(server))
        shop.client.call("model.activate", name=version)
        print("%s, seed %d, %s" % (name, options.seed, run(shop, rng, options.requests)), flush=True)
        return True
    except Fault as fault:
        print("%s, seed %d, %s" % (name, options.seed, fault))
        return False
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", dest="sets", choices=sorted(SETS))
    parser.add_argument("--data", default=sets.DATA)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--model", action="append", metavar="SET=FILE", help="instead of one that is trained in a hurry")
    options, ok = parser.parse_args(), True
    models = sets.models_given(options.model)
    for name in options.sets or sorted(SETS):
        began = time.monotonic()
        ok = examine(name, options, models.get(name)) and ok
        print("  %.0f s" % (time.monotonic() - began))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
