# SPDX-License-Identifier: Apache-2.0
"""What a list must hold whatever is asked of it, decided item by item in Python: an oracle for filters, caps and promotions, and
random requests to ask it about."""
import collections
import math


class Shop:
    """The items as they were put: name to a dict of price, categories, created, and attributes (a value or a list)."""

    def __init__(self, items):
        self.items = items

    def values(self, name, field):
        item = self.items[name]
        if field == "category":
            return [str(v) for v in item.get("categories", [])]
        value = item.get("attributes", {}).get(field)
        if value is None:
            return []
        if isinstance(value, bool):
            return ["true" if value else "false"]
        if isinstance(value, list):
            return [str(v) for v in value]
        return ["%.15g" % value] if isinstance(value, (int, float)) else [value]

    def number(self, name, field):
        item = self.items[name]
        if field in ("price", "created"):
            return item.get(field)
        value = item.get("attributes", {}).get(field)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def holds(self, name, c):
        field = c["field"]
        if field == "item":
            return ("any" not in c or name in c["any"]) and ("none" not in c or name not in c["none"])
        values, number = self.values(name, field), self.number(name, field)
        bounded = "min" in c or "max" in c
        return (("any" not in c or any(v in c["any"] for v in values)) and
                ("none" not in c or not any(v in c["none"] for v in values)) and
                (not bounded or (number is not None and c.get("min", -math.inf) <= number <= c.get("max", math.inf))) and
                ("exists" not in c or (bool(values) or number is not None) == c["exists"]))

    def passes(self, name, filter):
        should = filter.get("should", [])
        return (all(self.holds(name, c) for c in filter.get("must", [])) and
                not any(self.holds(name, c) for c in filter.get("must_not", [])) and
                (not should or any(self.holds(name, c) for c in should)))

    # ---- caps

    def cap_fault(self, names, cap):
        """The first place that breaks a cap, or None."""
        window = cap.get("window", 0) or len(names)
        for end in range(len(names)):
            seen = collections.Counter()
            for name in names[max(0, end - window + 1):end + 1]:
                seen.update(self.values(name, cap["by"]))
            if any(seen[v] > cap["most"] for v in self.values(names[end], cap["by"])):
                return end
        return None

    def could_follow(self, names, name, caps):
        return all(self.cap_fault(names + [name], cap) is None for cap in caps)

    def longest(self, qualifying, n, cap):
        """How long a list under one cap can be whose items have one value at most: the longest t such that for every beginning of whole
        windows, and for t itself, there are enough items that may come in."""
        counts = collections.Counter(v[0] if v else None for v in (self.values(q, cap["by"]) for q in qualifying))
        free = counts.pop(None, 0)

        def room(t):
            window = cap.get("window", 0)
            most = cap["most"] * (t // window) + min(cap["most"], t % window) if window else cap["most"]
            return free + sum(min(c, most) for c in counts.values())
        length, window = 0, cap.get("window", 0)
        for t in range(1, min(n, len(qualifying)) + 1):
            whole = t // window * window if window else t
            if room(t) < t or (whole and room(whole) < whole):
                break
            length = t
        return length


def faults(shop, request, names, qualifying, n):
    """What is wrong with a list, as sentences."""
    wrong = []
    if len(set(names)) != len(names):
        wrong.append("an item twice")
    for name in names:
        if name not in qualifying:
            wrong.append("%s does not qualify" % name)
    caps = request.get("caps", [])
    for cap in caps:
        at = shop.cap_fault(names, cap)
        if at is not None:
            wrong.append("place %d breaks the cap %r" % (at, cap))
    if not caps and len(names) != min(n, len(qualifying)):
        wrong.append("%d items, %d qualify" % (len(names), len(qualifying)))
    if caps and len(names) < min(n, len(qualifying)):
        left = [q for q in qualifying if q not in set(names)]
        if any(shop.could_follow(names, q, caps) for q in left):
            wrong.append("%d items, and one more could follow" % len(names))
        if len(caps) == 1 and all(len(shop.values(q, caps[0]["by"])) <= 1 for q in qualifying):
            longest = shop.longest(qualifying, n, caps[0])
            if len(names) < longest:
                wrong.append("%d items, %d are possible under %r" % (len(names), longest, caps[0]))
    for promotion in request.get("promotions", []) if not caps else []:
        wrong += promotion_faults(shop, promotion, names, qualifying)
    return wrong


def promotion_faults(shop, promotion, names, qualifying):
    def promoted(name):
        return all(shop.holds(name, c) for c in promotion["when"])
    total, so_far = sum(promoted(q) for q in qualifying), 0
    for k, name in enumerate(names, 1):
        so_far += promoted(name)
        if so_far < min(math.floor(promotion["share"] * k + 1e-9), total):
            return ["%d of the first %d are promoted, share %g" % (so_far, k, promotion["share"])]
    return []


# ---- random requests

def random_condition(random, fields, names):
    """`fields`: {"brand": [values], ...} for values and {"price": (least, most)} for numbers."""
    field = random.choice(sorted(fields) + ["item"])
    if field == "item":
        return {"field": "item", random.choice(["any", "none"]): random.sample(names, min(len(names), 40))}
    what = fields[field]
    if isinstance(what, tuple):
        low, high = sorted(round(random.uniform(*what), 2) for _ in range(2))
        return random.choice([{"field": field, "min": low}, {"field": field, "max": high},
                              {"field": field, "min": low, "max": high}])
    some = random.sample(what, random.randint(1, max(1, len(what) // 2)))
    return random.choice([{"field": field, "any": some}, {"field": field, "none": some},
                          {"field": field, "exists": random.random() < 0.8}])


def random_request(random, fields, names, keys):
    """Everything but user and n. `keys`: what caps may go by."""
    request = {}
    if random.random() < 0.7:
        request["filter"] = {part: [random_condition(random, fields, names) for _ in range(random.randint(1, 2))]
                             for part in ("must", "must_not", "should") if random.random() < 0.45}
    if random.random() < 0.4:
        request["caps"] = []
        for _ in range(random.choice([1, 1, 1, 2])):
            most = random.randint(1, 3)
            request["caps"].append({"by": random.choice(keys), "most": most,
                                    "window": random.choice([0, most + random.randint(1, 8)])})
    if random.random() < 0.3:
        request["promotions"] = [{"when": [random_condition(random, fields, names)], "share": random.choice([.1, .3, .5]),
                                  "label": "p"}]
    if random.random() < 0.3:
        request["boost"] = [{"when": [random_condition(random, fields, names)], "add": random.uniform(-3, 3)}]
    for knob in ("diversity", "novelty", "serendipity", "calibration"):
        if random.random() < 0.25:
            request[knob] = round(random.random(), 2)
    if "diversity" in request and random.random() < 0.4:
        request["rerank"] = "mmr"
    if random.random() < 0.15 and "promotions" not in request:
        request["exploration"] = random.choice([.1, .3])
    if random.random() < 0.3:
        request["exclude"] = random.sample(names, min(len(names), 30))
    if random.random() < 0.3:
        request["exclude_seen"] = False
    return request
