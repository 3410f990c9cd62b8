# SPDX-License-Identifier: Apache-2.0
"""Reasons of real recommendations, to be read by a person: the last events of a user, an item, why it is there, and the largest term of a
stream. Checks that the reason names that term's event, by its title, and the modality that judges. Writes build/reasons.md; ends with 1
where a reason says something else."""
import argparse
import collections
import os
import random
import shutil
import sys
import tempfile

import sets
from sets import daemon

REPORT = os.path.join(daemon.ROOT, "build", "reasons.md")
SET = "scientific"
EVENTS_TOLD, N = 5, 10
TITLE_CHARACTERS = 60  # as in daemon/reason.h
WORDS = {"text": "description", "image": "picture", "id": "audience"}
LEVEL = 1e-5  # terms that differ by no more than this are equally large

Case = collections.namedtuple("Case", "user events item title score reason largest")
Largest = collections.namedtuple("Largest", "event title pick judge value")


def cut(title):
    return title if len(title) <= TITLE_CHARACTERS else title[:TITLE_CHARACTERS] + "…"


def largest_terms(item, history):
    """The largest positive term of a stream, event by event and pick by judge, and what is as large; the largest first. `history`: event
    to what is known of it."""
    sums = collections.Counter()
    for term in item["terms"]:
        if term["kind"] == "stream" and term["event"] in history:
            sums[(term["event"], *term["stream"].split("->"))] += term["value"]
    most = max(sums.values(), default=0)
    return [Largest(event, history[event].get("title") or history[event]["item"], pick, judge, value)
            for (event, pick, judge), value in sums.most_common() if value > 0 and value >= most * (1 - LEVEL)]


def says(reason, term):
    """Does the reason tell of that event and of that modality?"""
    title, word = cut(term.title), WORDS.get(term.judge, term.judge)
    if term.pick == term.judge:
        return "its %s resembles that of the %s" % (word, title) in reason
    return "its %s led to the %s" % (WORDS.get(term.pick, term.pick), title) in reason and "and its %s fits" % word in reason


def draw(client, titles, users, rng, count):
    """Recommendations, each of another user."""
    cases = []
    for user in rng.sample(users, min(count, len(users))):
        reply = client.call("recommend", user=user, n=N, explain="full")
        item = rng.choice(reply["items"])
        events = [cut(event.get("title") or event["item"]) for event in reply["history"][:EVENTS_TOLD]]
        largest = largest_terms(item, {event["seq"]: event for event in reply["history"] if event.get("item")})
        cases.append(Case(user, events, item["item"], titles[item["item"]], item["score"], item.get("reason", ""), largest))
    return cases


def plain(text):
    """As it is, in Markdown."""
    return "".join("\\" + c if c in "\\`*_[]<>#|" else c for c in text)


def describe(number, case):
    lines = ["%d. **%s** (%.4g) for %s" % (number, plain(cut(case.title or case.item)), case.score, plain(case.user)),
             "   * reason: %s" % plain(case.reason)]
    if case.largest:
        most = case.largest[0]
        lines.append("   * largest term of a stream: %.4g of %s, %s → %s" % (most.value, plain(cut(most.title)), most.pick, most.judge))
    else:
        lines.append("   * no stream speaks for it")
    lines += ["   * last events: " + "; ".join(map(plain, case.events)), ""]
    return lines


def fault(case):
    """What is wrong with a reason, or None."""
    if not case.reason:
        return "%s for %s has no reason" % (case.item, case.user)
    if case.largest and not any(says(case.reason, term) for term in case.largest):
        return "%s for %s: '%s' does not tell of %s" % (case.item, case.user, case.reason, case.largest[0])
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=sets.DATA)
    parser.add_argument("--model", metavar="FILE", help="a trained one, instead of the default model")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder, directory = os.path.join(options.data, SET), tempfile.mkdtemp(prefix="recsysd-reasons-")
    server = daemon.Daemon(directory, settings=sets.SETTINGS)
    try:
        client = sets.open_shop(server, folder)
        if options.model:
            client.call("model.activate", name=sets.put_model(server, options.model))
        titles = {cells[0]: cells[1] for cells in sets.rows_of(folder, ".item")}
        users = sorted({cells[0] for cells in sets.rows_of(folder, ".inter")})
        model = client.call("status")["model"]
        cases = draw(client, titles, users, random.Random(options.seed), options.count)
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)
    wrong = [sentence for sentence in map(fault, cases) if sentence]
    lines = ["# Reasons", "", "Made by `make reasons`: %d recommendations on %s, drawn with seed %d, by model %s; %d reasons say something "
             "else than the largest term of a stream." % (len(cases), SET, options.seed, model, len(wrong)), ""]
    for number, case in enumerate(cases, 1):
        lines += describe(number, case)
    lines += ["* " + plain(sentence) for sentence in wrong]
    with open(REPORT, "w", encoding="utf-8") as file:
        file.write("\n".join(lines).rstrip() + "\n")
    with_stream = sum(bool(case.largest) for case in cases)
    print("\n".join(wrong) or "%d reasons, %d of them by a stream, all tell of its largest term" % (len(cases), with_stream))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
