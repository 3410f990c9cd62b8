# SPDX-License-Identifier: Apache-2.0
"""build/quality.md from the result files: what was asked for, what was reached, and what each part is worth.

    report.py [--results DIR] [--data DIR] [--out FILE]"""
import argparse
import os
import sys

import bootstrap
import plan
import results as results_of
import worth
from results import pooled
from tables import Report, compare, four, mean, percent, table, with_interval, yes

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BASELINES = ("popularity", "popularity-7d", "markov", "content-text", "content-image", "default")
REQUIRED_ORDER = ("scientific-clip", "scientific", "instruments")  # where trained > default > Markov is required


# ---- (a) what must be shown

def best_baseline(result, but=()):
    """(name, NDCG@10); (None, 0) where there is none."""
    found = [(m["ndcg@10"], name) for name, m in result.baselines.items() if name not in but]
    value, name = max(found, default=(0.0, None))
    return name, value


def fit_seconds(found):
    times = [r.fit_s for r in found]
    return None if None in times or not times else mean(times)


def must_show_row(report, of_set):
    found = report.results.of(of_set.name)
    value = mean(r.model["ndcg@10"] for r in found)
    name, best = best_baseline(found[0])
    scale = (lambda x: (1 + x) * best) if of_set.over_baseline else (lambda x: x)
    wish = "+%.0f %%" if of_set.over_baseline else None
    at_least, hoped = ((wish % (100 * x) if wish else four(x)) for x in (of_set.at_least, of_set.hoped))
    met = value >= scale(of_set.at_least)
    sentence = "%s: NDCG@10 %s, at least %s (%s)" % (of_set.name, four(value), four(scale(of_set.at_least)),
                                                     seeds_text(found))
    report.require(sentence, met)
    above = "–" if name is None or best <= 0 else "%s %s, %+.1f %%" % (name, four(best), 100 * (value / best - 1))
    if name is not None:
        report.require("%s: above its best baseline, %s" % (of_set.name, above), value > best)
    seconds = fit_seconds(found)
    if of_set.fit_limit_s and seconds is not None:
        report.require("%s: trained in %.0f s, under %d s" % (of_set.name, seconds, of_set.fit_limit_s),
                       seconds < of_set.fit_limit_s)
    verdict = "**no**" if not met else "hoped for" if value >= scale(of_set.hoped) else "yes"
    by_seed = " ".join("%d: %s" % (r.seed, four(r.model["ndcg@10"])) for r in found)
    return [of_set.name, at_least, hoped, four(value), by_seed, four(mean(r.model["hr@10"] for r in found)), verdict,
            above, "–" if seconds is None else "%.0f" % seconds]


def seeds_text(found):
    seeds = [str(r.seed) for r in found]
    return ("seed " if len(seeds) == 1 else "mean of seeds ") + ", ".join(seeds)


def must_show(report):
    report.section("What must be shown",
                   "NDCG@10 of the test events, every item ranked, items already seen masked, ties count half; mean of "
                   "the seeds. With a time holdout a user may have many test events, and the mean is over events. "
                   "*Best baseline* counts the untrained default model as one. Training: seconds of `fit`, "
                   "mean of the seeds.")
    sets = report.sets()
    report.lines += table(["set", "at least", "hoped for", "NDCG@10", "by seed", "HR@10", "met", "best baseline",
                           "training, s"], [must_show_row(report, s) for s in sets])
    rows = []
    for of_set in sets:
        first = report.results.of(of_set.name)[0]
        names = [n for n in BASELINES if n in first.baselines] + sorted(set(first.baselines) - set(BASELINES))
        plain, _ = best_baseline(first, but=("default",))
        trained = mean(r.model["ndcg@10"] for r in report.results.of(of_set.name))
        for name in names:
            m = first.baselines[name]
            above = "%+.1f %%" % (100 * (trained / m["ndcg@10"] - 1)) if m["ndcg@10"] > 0 else "–"
            rows.append([of_set.name, name + (" (best plain one)" if name == plain else ""), four(m["ndcg@10"]),
                         four(m["hr@10"]), above])
    report.section("Baselines")
    report.lines += table(["set", "baseline", "NDCG@10", "HR@10", "trained is above it by"], rows)
    report.lines += table(["set", "users", "test events", "items", "events", "holdout", "validation NDCG@10 by seed"],
                          [shape_row(s, report.results.of(s.name)) for s in sets])


def shape_row(of_set, found):
    first = found[0].json
    validation = [((r.quality.get("training") or {}).get("metrics") or {}).get("validation") or {} for r in found]
    return [of_set.name, *(first.get(key, "–") for key in ("users", "queries", "items", "events")), of_set.holdout,
            " ".join("%d: %s" % (r.seed, four(v.get("ndcg@10"))) for r, v in zip(found, validation))]


# ---- (b) trained, default, Markov

def order_of_models(report):
    report.section("Trained, untrained, Markov",
                   "Differences of NDCG@10 with 95 %% intervals: paired bootstrap over users, %d resamples, seeds "
                   "averaged per event first." % bootstrap.RESAMPLES)
    rows = []
    for of_set in report.sets():
        found = report.results.of(of_set.name)
        if not {"default", "markov"} <= set(found[0].ranks):
            continue
        trained = pooled(found)
        default, markov = (pooled(found[:1], column) for column in ("default", "markov"))
        for a, b, what in ((trained, default, "trained − default"), (default, markov, "default − Markov"),
                           (trained, markov, "trained − Markov")):
            interval = compare(a, b)
            required = of_set.name in REQUIRED_ORDER and what != "trained − Markov"
            met = report.require("%s: %s is %s" % (of_set.name, what, with_interval(interval)), interval.value > 0) \
                if required else yes(interval.value > 0)
            rows.append([of_set.name, what, with_interval(interval), met, yes(interval.low > 0)])
    report.lines += table(["set", "difference", "NDCG@10", "above 0", "interval above 0"], rows)


# ---- (e) parts switched off at inference

def ablations(report):
    found = [(s, r) for s in report.sets() for r in report.results.of(s.name) if r.json.get("ablations")]
    if not found:
        return
    report.section("Parts switched off at inference",
                   "A diagnostic: nothing is trained anew, so what remains is tuned to a company that is gone. "
                   "NDCG@10, and the loss against the whole model.")
    rows = []
    for of_set, result in found:
        whole = result.model["ndcg@10"]
        for name, metrics in result.json["ablations"].items():
            loss = bootstrap.relative_loss(whole, metrics["ndcg@10"])
            rows.append([of_set.name, result.seed, name, four(whole), four(metrics["ndcg@10"]), percent(loss)])
    report.lines += table(["set", "seed", "without", "whole", "NDCG@10", "loss"], rows)


# ---- (f) where and with what

def provenance(report):
    report.section("Where, and with what")
    rows, seen = [], set()
    for key in sorted(report.results.by_job):
        machine = report.results.by_job[key].quality.get("machine") or {}
        row = tuple(str(machine.get(name, "–")) for name in ("version", "processor", "cores", "blas", "kernel"))
        if row not in seen:
            seen.add(row)
            rows.append(row)
    report.lines += table(["program", "processor", "cores", "BLAS core type", "kernel"], rows)
    report.notes += consistency(report.results)
    if report.notes:
        report.lines += ["To be known when reading the numbers above:", "", *("* " + note for note in report.notes), ""]


def consistency(results):
    """What is odd about the results as a whole."""
    notes, programs = [], {r.quality.get("fingerprint", {}).get("program") for r in results.by_job.values()}
    if len(programs) > 1:
        notes.append("the results come from %d builds of recsys-train; `make quality FRESH=1` makes older ones again" %
                     len(programs))
    for result in results.by_job.values():
        if result.disagreement() > 1e-4:
            notes.append("%s: NDCG@10 by its ranks is off by %s" % (result.name, four(result.disagreement())))
        base = plan.VARIANTS[result.variant].base if result.variant in plan.VARIANTS else None
        of_base = results.get(result.set, result.seed, base) if base else None
        if of_base and result.quality.get("base_sha256") != of_base.quality.get("model_sha256"):
            notes.append("%s has its stage one from another model than %s" % (result.name, of_base.name))
        if (result.quality.get("fit") or {}).get("resumed"):
            notes.append("%s was interrupted and resumed: its training time is not counted" % result.name)
    return notes


# ---- the whole

def summary(report):
    met = sum(1 for _, met in report.required if met)
    lines = ["# Quality", "", "Made by `make quality`. Required: %d of %d met." % (met, len(report.required)), ""]
    return lines + ["* [%s] %s" % ("x" if met else " ", sentence) for sentence, met in report.required] + [""]


def build(results, lacking, broken=()):
    """The report as text. `lacking`: (set) -> {modality: items without it}."""
    report = Report(results, lacking)
    report.notes += broken
    for part in (must_show, order_of_models, worth.variants, worth.streams, worth.cold, ablations, provenance):
        report.attempt(part.__name__.replace("_", " "), part)
    return "\n".join(summary(report) + report.lines).rstrip("\n") + "\n"


def write(results_dir, data_dir, out):
    """Write the report of what is in `results_dir`. `data_dir`: the sets; only to know what lacks a modality."""
    found, broken = results_of.load(results_dir)
    text = build(found, lambda name: results_of.lacking_items(data_dir, name, plan.SETS[name].modalities), broken)
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    with open(out + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(out + ".new", out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=os.path.join(ROOT, "build", "quality", "results"))
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"))
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "quality.md"))
    options = parser.parse_args()
    write(options.results, options.data, options.out)
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
