# SPDX-License-Identifier: Apache-2.0
"""What each part of the model is worth: variants without it, the families of streams, items that nobody has met."""
import bootstrap
import plan
import results as results_of
from results import hit, pooled
from tables import compare, four, marked, mean, percent, table, with_interval

# ---- (c) variants

def variants(report):
    report.section("Variants, each trained anew",
                   "What is lost without a part: 1 − variant / full in NDCG@10, with the 95 % interval of a paired "
                   "bootstrap over users, seeds averaged per event. Variants of the head take their stage one from the "
                   "full model of the same seed (`fit --stage-one`), which is what training them from the beginning "
                   "would give, byte for byte.")
    rows = []
    for of_set in report.sets():
        for variant in plan.VARIANTS.values():
            pair = report.common(of_set.name, "full", variant.name)
            if pair and variant.name != "full" and "cold" not in variant.name and variant.fit is not None:
                rows.append(report.attempt("%s, %s" % (of_set.name, variant.name), variant_row, of_set, variant, *pair))
    rows = [row for row in rows if row is not None]
    report.lines += table(["set", "variant", "seeds", "full", "variant", "loss", "at least", "met"], rows)
    used = [v for v in plan.VARIANTS.values() if any(row[1] == v.name for row in rows)]
    report.lines += ["* *%s*: %s" % (v.name, v.says) for v in used] + [""]


def variant_row(report, of_set, variant, full, other):
    a, b = pooled(full), pooled(other)
    interval = compare(a, b, bootstrap.relative_loss)
    least, met = variant.loss.get(of_set.name), "–"
    if least is not None:
        met = report.require("%s: %s loses %s, %s" % (
            of_set.name, variant.name, with_interval(interval, percent),
            "at least " + percent(least) if least else "more than nothing, with its interval"),
            interval.value >= least if least else interval.low > 0)
    required = "–" if least is None else percent(least) if least else "interval above 0"
    return [of_set.name, variant.name, len(full), four(mean(a.values())), four(mean(b.values())),
            with_interval(interval, percent), required, met]


# ---- streams: all, same-modality only, cross only

def streams(report):
    report.section("Streams: all, same modality only, cross only",
                   "NDCG@10, the mean of the seeds, and differences with 95 % intervals. *Worth of cross*: all − same "
                   "only. *Worth of same*: all − cross only. A slice is about the target (its events in the training "
                   "part, what it lacks) or about the history. An interval wholly on one side of 0 is **bold**.")
    found = []
    for of_set in report.sets("same-only"):
        found += report.attempt(of_set.name + ", streams", stream_rows, of_set) or []
    looked_at = len(found)
    better = ["%s, %s: %s" % (*cells[:2], with_interval(cross)) for cells, cross in found if cross.low > 0]
    worse = ["%s: %s" % (cells[0], with_interval(cross)) for cells, cross in found
             if cells[1] == "all" and cross.high < 0]
    rows = [cells for cells, _ in found]
    report.lines += table(["set", "slice", "events", "all", "same only", "cross only", "worth of cross",
                           "worth of same"], rows)
    cold = cold_streams(report)
    better += cold[1]
    looked_at += len(cold[0])
    report.lines += table(["set", "cold items", "events", "all", "same only", "HR@10, worth of cross"], cold[0])
    if rows:
        report.require("with the cross streams no set is worse" + "".join("; " + text for text in worse), not worse)
        report.require("with the cross streams a set or slice is better, interval above 0, out of %d looked at: %s" %
                       (looked_at, "; ".join(better) or "none"), bool(better))


def stream_rows(report, of_set):
    """[(cells, worth of cross)] of a set and of its slices."""
    triple = report.common(of_set.name, "full", "same-only", "cross-only")
    if not triple:
        return []
    gains, facts = [pooled(found) for found in triple], results_of.facts_of(triple[0][0])
    chosen = {"all": set(facts)}
    for group, name, belongs in results_of.slices(report.lacking(of_set.name)):
        chosen["%s %s" % (group, name)] = {key for key, of_key in facts.items() if belongs(of_key)}
    return [stream_row(of_set.name, name, gains, keys) for name, keys in chosen.items() if keys]


def stream_row(set_name, name, gains, keys):
    full, same, cross = gains
    worth = [compare(full, other, chosen=keys) for other in (same, cross)]
    cells = [set_name, name, len(keys), *(four(mean(of[key] for key in keys)) for of in gains), *map(marked, worth)]
    return cells, worth[0]


def cold_events(result):
    return {key for key, cold in zip(result.keys(), result.ranks["cold"]) if cold}


def cold_streams(report):
    rows, better = [], []
    for of_set in report.sets("cold-same-only"):
        pair = report.common(of_set.name, "cold", "cold-same-only")
        chosen = cold_events(pair[0][0]) if pair else set()
        if not chosen:
            continue
        full, same = (pooled(found, gain=hit) for found in pair)
        interval = compare(full, same, chosen=chosen)
        rows.append([of_set.name, "5 %", len(chosen), *(four(mean(g[key] for key in chosen)) for g in (full, same)),
                     marked(interval)])
        if interval.low > 0:
            better.append("%s, cold items, HR@10: %s" % (of_set.name, with_interval(interval)))
    return rows, better


# ---- (d) cold items

def cold(report):
    report.section("Cold items",
                   "5 % of the items, chosen by a hash of their names, have no training events. HR@10 of the test "
                   "events with those targets. *Warm*: the same events, asked of the full model, which has met them.")
    rows = []
    for of_set in report.sets("cold"):
        found = report.results.of(of_set.name, "cold")
        chosen = cold_events(found[0])
        contents = [name for name in found[0].ranks if name.startswith("content-")]
        if not chosen or not contents:
            report.notes.append("%s: no test event has a cold target, or there is no content baseline" % of_set.name)
            continue
        rows.append(cold_row(report, of_set, found, chosen, contents))
    report.lines += table(["set", "events", "NDCG@10", "HR@10", "better content cosine", "difference",
                           "interval above 0", "Markov", "warm HR@10"], rows)


def cold_row(report, of_set, found, chosen, contents):
    model = pooled(found, gain=hit)
    content = {name: pooled(found[:1], name, hit) for name in contents}
    rate = {name: mean(gains[key] for key in chosen) for name, gains in content.items()}
    name = max(contents, key=rate.get)
    interval = compare(model, content[name], chosen=chosen)
    met = report.require("%s: cold items, HR@10 above %s by %s" % (of_set.name, name, with_interval(interval)),
                         interval.low > 0)
    def over_chosen(gains):
        return None if gains is None else mean(gains[key] for key in chosen)
    markov = pooled(found[:1], "markov", hit) if "markov" in found[0].ranks else None
    return [of_set.name, len(chosen), four(over_chosen(pooled(found))), four(over_chosen(model)),
            "%s %s" % (name, four(rate[name])), with_interval(interval), met, four(over_chosen(markov)),
            four(warm_rate(report, of_set, chosen))]


def warm_rate(report, of_set, chosen):
    """The full model's hit rate on the events of the cold items, as its warm twin has it."""
    pair = report.common(of_set.name, "warm", "full")
    if not pair:
        return None
    warm, full = (pooled(found, gain=hit) for found in pair)
    if not all(key in warm for key in chosen):
        report.notes.append("%s: the warm twin is about other events than the cold model" % of_set.name)
        return None
    if any(abs(warm[key] - full[key]) > 1e-9 for key in chosen):
        report.notes.append("%s: the warm twin ranks cold items unlike the full model: it is not warm" % of_set.name)
    return mean(warm[key] for key in chosen)
