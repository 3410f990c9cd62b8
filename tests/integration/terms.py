# SPDX-License-Identifier: Apache-2.0
"""What explained lists must hold, whatever was asked: terms add up to the score and to its parts, a stream's terms are shares of one
attention, events are those of the history, the funnel narrows. And whether two lists are the same but for rounding."""
import math

RELATIVE, ABSOLUTE = 1e-5, 1e-6  # of sums in single precision, and of replies in 7 digits
SAME = 1e-6  # of scores that are computed twice
SMALLEST = 1e-30  # a share or value below this has lost digits
STAGES = ["catalogue", "shown", "candidates", "not_excluded", "not_current", "not_seen", "filter", "price_ceiling", "scored", "pool",
          "listed"]
PART_OF = {"sequence": "sequence", "cooccurrence": "behaviour", "popularity": "popularity", "recent": "popularity",
           "novelty": "popularity", "top": "popularity", "boost": "boost", "stored": "stored"}
OF_EVENTS = ("stream", "cooccurrence")


def part_of(term):
    """The part of the score that a term belongs to: of a stream the modality that judges."""
    return term["stream"].split("->")[1] if term["kind"] == "stream" else PART_OF[term["kind"]]


def values_of(item):
    return [term["value"] for term in item.get("terms", [])]


def size_of(values):
    return math.fsum(abs(value) for value in values)


def sum_error(item):
    """How far the terms are from the score, relative to the sum of their sizes."""
    values = values_of(item)
    return abs(item["score"] - math.fsum(values)) / size_of(values) if size_of(values) > 0 else 0.0


def add_up(values, total, size=None):
    """`size`: of what rounding is relative to, where that is more than the values themselves."""
    return abs(total - math.fsum(values)) <= RELATIVE * (size_of(values) if size is None else size) + ABSOLUTE


# ---- one item

def term_faults(term, history):
    """`history`: event to item."""
    wrong, event = [], term.get("event", "")
    if bool(event) != (term["kind"] in OF_EVENTS):
        wrong.append("a term of kind %s with the event '%s'" % (term["kind"], event))
    elif event and event not in history:
        wrong.append("event '%s' is not in the history" % event)
    elif event and history[event] != term.get("item", ""):
        wrong.append("event '%s' is of '%s', its term says '%s'" % (event, history[event], term.get("item", "")))
    if term["value"] == 0:
        wrong.append("a term of nothing: %r" % term)
    if term["kind"] == "sequence" and not term.get("modality"):
        wrong.append("a term of the sequence without a modality")
    if (term["kind"] == "boost") != ("rule" in term):
        wrong.append("a boost without its rule, or a rule without a boost: %r" % term)
    return wrong


def stream_faults(stream, some, whole):
    """The terms of one stream: value = pick * judge * what the stream weighs for this item. `whole`: no event's term is left out for
    being 0, so the shares add up to 1 and not to less."""
    wrong = []
    if not all(isinstance(term.get(key), (int, float)) for term in some for key in ("pick", "judge")):
        return ["a term of %s without its numbers" % stream]
    weights = [term["value"] / (term["pick"] * term["judge"]) for term in some
               if abs(term["value"]) > SMALLEST and term["pick"] > SMALLEST and abs(term["judge"]) > SMALLEST]
    if weights and max(weights) - min(weights) > RELATIVE * max(map(abs, weights)):
        wrong.append("%s weighs from %.9g to %.9g" % (stream, min(weights), max(weights)))
    shares = math.fsum(term["pick"] for term in some)
    if min(term["pick"] for term in some) < 0 or shares > 1 + RELATIVE or (whole and shares < 1 - RELATIVE):
        wrong.append("the shares of %s add up to %.9g" % (stream, shares))
    if len({term["event"] for term in some}) != len(some):
        wrong.append("%s has an event twice" % stream)
    return wrong


def item_faults(item, history, whole=True):
    """What is wrong with an item of a list with explain "full", as sentences."""
    terms, values, parts = item.get("terms", []), values_of(item), item.get("parts", {})
    unknown = [term["kind"] for term in terms if term["kind"] not in PART_OF and term["kind"] != "stream"]
    if unknown:
        return ["%s: terms of kind %s" % (item["item"], unknown)]
    wrong = []
    if not add_up(values, item["score"]):
        wrong.append("the terms add up to %.9g, the score is %.9g" % (math.fsum(values), item["score"]))
    for part in sorted(set(parts) | set(map(part_of, terms))):
        some = [term["value"] for term in terms if part_of(term) == part]
        if not add_up(some, parts.get(part, 0)):
            wrong.append("the terms of '%s' add up to %.9g, the part is %.9g" % (part, math.fsum(some), parts.get(part, 0)))
    for term in terms:
        wrong += term_faults(term, history)
    for stream in sorted({term["stream"] for term in terms if term["kind"] == "stream"}):
        wrong += stream_faults(stream, [term for term in terms if term.get("stream") == stream], whole)
    if not item.get("reason"):
        wrong.append("there is no reason")
    return ["%s: %s" % (item["item"], sentence) for sentence in wrong]


# ---- a list

def history_of(reply):
    """Event to item."""
    return {event["seq"]: event.get("item", "") for event in reply.get("history", [])}


def history_faults(reply):
    history, wrong = reply.get("history", []), []
    names, times = [event["seq"] for event in history], [int(event.get("ts", 0)) for event in history]
    own = [name for name in names if name.startswith("+")]
    if len(set(names)) != len(names):
        wrong.append("the history has an event twice")
    if times != sorted(times, reverse=True):
        wrong.append("the history is not newest first")
    if own != ["+%d" % k for k in range(len(own), 0, -1)]:
        wrong.append("events of the request are called %s, newest first" % own)
    return wrong


def list_faults(reply, whole=True):
    """What is wrong with a list with explain "full"."""
    history, wrong = history_of(reply), history_faults(reply)
    for item in reply.get("items", []):
        wrong += item_faults(item, history, whole)
    return wrong


def funnel_faults(reply, unscored=False):
    """`unscored`: the list may be filled with items that have no score, so it may be longer than what has one."""
    stages = [(stage["name"], int(stage["count"])) for stage in reply.get("funnel", [])]
    names, wrong = [name for name, _ in stages], []
    if names != [stage for stage in STAGES if stage in names] or names[:1] != ["catalogue"] or names[-1:] != ["listed"]:
        return ["stages %s" % names]
    narrowing = [stage for stage in stages if not (unscored and stage[0] in ("scored", "pool"))]
    for (before, many), (after, few) in zip(narrowing, narrowing[1:]):
        if few > many:
            wrong.append("%d of '%s' become %d of '%s'" % (many, before, few, after))
    if stages[-1][1] != len(reply.get("items", [])):
        wrong.append("the funnel lists %d of %d" % (stages[-1][1], len(reply.get("items", []))))
    return wrong


def stage_counts(reply):
    return {stage["name"]: int(stage["count"]) for stage in reply.get("funnel", [])}


# ---- the reply of explain

def explain_faults(reply, whole=True):
    """What is wrong with what explain says, as far as the reply itself tells."""
    explained, last, place, wrong = reply.get("explained"), reply.get("last"), reply.get("place"), []
    history, listed = history_of(reply["list"]), [item["item"] for item in reply["list"].get("items", [])]
    for item in (explained, last):
        wrong += item_faults(item, history, whole) if item else []
    if (reply["stage"] == "listed") != (place is not None) or (place is not None) != (reply["item"] in listed):
        wrong.append("stage %s, place %s, the list is %s" % (reply["stage"], place, listed))
    elif place is not None and listed[place - 1:place] != [reply["item"]]:
        wrong.append("place %d, the list is %s" % (place, listed))
    if (last is not None) != (place is None and bool(listed)) or (last is not None and last["item"] != listed[-1]):
        wrong.append("'last' is %s, the list is %s" % (last and last["item"], listed))
    if ("gap" in reply) != (explained is not None and last is not None):
        wrong.append("a gap %s" % reply.get("gap"))
    elif "gap" in reply:
        wrong += gap_faults(reply)
    if not reply["says"]:
        wrong.append("it says nothing")
    return wrong


def gap_faults(reply):
    explained, last, parts = reply["explained"], reply["last"], reply.get("gap_parts", {})
    size, wrong = size_of(values_of(explained) + values_of(last)), []
    if not add_up([last["score"], -explained["score"]], reply["gap"], size):
        wrong.append("scores %.9g and %.9g, the gap is %.9g" % (last["score"], explained["score"], reply["gap"]))
    if not add_up(parts.values(), reply["gap"], size):
        wrong.append("the gap is %.9g, its parts add up to %.9g" % (reply["gap"], math.fsum(parts.values())))
    for part in sorted(set(parts) | set(last.get("parts", {}))):
        both = [last["parts"].get(part, 0), -explained["parts"].get(part, 0)]
        if not add_up(both, parts.get(part, 0), size):
            wrong.append("the gap of '%s' is %.9g, not %.9g" % (part, parts.get(part, 0), math.fsum(both)))
    return wrong


# ---- two lists

def told_faults(plain, explained):
    """Of a list and the same with terms: telling changes neither items nor scores, and parts no more than by rounding."""
    if [(item["item"], item["score"]) for item in plain["items"]] != [(item["item"], item["score"]) for item in explained["items"]]:
        return ["explained, it is another list"]
    wrong = []
    for one, other in zip(plain["items"], explained["items"]):
        parts, told, size = one.get("parts", {}), other.get("parts", {}), size_of(values_of(other))
        wrong += ["%s: '%s' is %.9g, and explained %.9g" % (one["item"], part, parts.get(part, 0), told.get(part, 0))
                  for part in sorted(set(parts) | set(told)) if not add_up([parts.get(part, 0)], told.get(part, 0), size)]
    return wrong


def tolerance(item):
    return SAME * (abs(item["score"]) + size_of(item.get("parts", {}).values())) + 1e-9


def are_near(left, right):
    return abs(left["score"] - right["score"]) <= max(tolerance(left), tolerance(right))


def difference(left, right):
    """Where two lists differ, as a sentence, or None. Items whose scores are equal but for rounding may have changed places, the one
    behind the last place among them."""
    a, b = left["items"], right["items"]
    if len(a) != len(b):
        return "%d items, and %d" % (len(a), len(b))
    there = {item["item"]: item for item in b}
    for place, (one, other) in enumerate(zip(a, b), 1):
        found = there.get(one["item"], b[-1])
        if one["item"] != other["item"] and not (are_near(one, other) and are_near(one, found)):
            return "place %d: %s (%.9g), and %s (%.9g)" % (place, one["item"], one["score"], other["item"], other["score"])
        if not are_near(one, found):
            return "place %d: %s has %.9g, and %.9g" % (place, one["item"], one["score"], found["score"])
    return None
