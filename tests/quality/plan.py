# SPDX-License-Identifier: Apache-2.0
"""What is measured: the sets with what they must reach, the variants, and the jobs that follow from both."""
import collections

COLD_SHARE = "0.05"  # of the items, chosen by a hash of their names, lose their training events

# holdout: how the log is cut. at_least, hoped: NDCG@10, or with `over_baseline` how much more than the best baseline.
# fit_limit_s: what training may take on two cores. guess_s: what a whole fit takes, for the first estimate of the time
# left. one_seed: its variants are made for the first seed only.
Set = collections.namedtuple("Set", "name holdout modalities at_least hoped over_baseline fit_limit_s guess_s one_seed")

# Cheap ones first: this is the order of work.
SETS = collections.OrderedDict((s.name, s) for s in (
    Set("scientific-clip", "leave-one-out", ("text", "image"), .1250, .1330, False, 180, 120, False),
    Set("ml100k", "time", ("text",), .10, .25, True, None, 150, False),
    Set("scientific", "leave-one-out", ("text", "image"), .1000, .1080, False, None, 400, False),
    Set("instruments", "leave-one-out", ("text", "image"), .1110, .1180, False, None, 1000, False),
    Set("ml1m", "leave-one-out", ("text", "image"), .1930, .2050, False, 2700, 2400, True)))

TWO_MODALITIES = tuple(s.name for s in SETS.values() if len(s.modalities) > 1)
COLD_SETS = ("scientific-clip", "ml100k", "scientific")

# fit: options of `recsys-train fit`; None: nothing is fitted, the model of `base` is evaluated in another way.
# base: the variant of the same seed that a head variant takes its stage one from. Stage one does not see the head, so
#       the model is the same, byte for byte, as one trained from the beginning, for a fraction of the time.
# evaluate: options of `recsys-train evaluate`. sets: where it says something; None: everywhere.
# loss: how much NDCG@10 it must lose against the full model, by set; 0: more than nothing, with its interval.
# optional: made only if it is named.
Variant = collections.namedtuple("Variant", "name fit base evaluate sets loss optional says")

VARIANTS = collections.OrderedDict((v.name, v) for v in (
    Variant("full", (), None, (), None, {}, False, "everything"),
    Variant("no-streams", ("--without", "streams"), "full", ("--model-only",), None,
            {"scientific-clip": .05, "scientific": .05, "instruments": .01}, False, "no streams at all"),
    Variant("same-only", ("--without", "cross"), "full", ("--model-only",), TWO_MODALITIES, {}, False,
            "only streams in which a modality picks and judges"),
    Variant("cross-only", ("--without", "same"), "full", ("--model-only",), TWO_MODALITIES, {}, False,
            "only streams in which one modality picks and another judges"),
    Variant("no-cooccurrence", ("--without", "cooccurrence"), "full", ("--model-only",), None,
            {"scientific-clip": .02, "scientific": .02, "instruments": .02}, False,
            "what followed what is not looked at"),
    Variant("no-content", ("--without", "text", "--without", "image"), None, ("--model-only",), ("scientific-clip",),
            {"scientific-clip": .15}, False, "neither text nor image: ids only"),
    Variant("no-time", ("--without", "time"), None, ("--model-only",), ("ml100k",), {"ml100k": 0}, False,
            "order only: no time bias anywhere"),
    Variant("cold", ("--cold-share", COLD_SHARE), None, ("--cold-share", COLD_SHARE), COLD_SETS, {}, False,
            "5 % of the items have no training events"),
    Variant("warm", None, "full", ("--cold-share", COLD_SHARE, "--model-only"), COLD_SETS, {}, False,
            "the full model on the same items"),
    Variant("cold-same-only", ("--cold-share", COLD_SHARE, "--without", "cross"), "cold",
            ("--cold-share", COLD_SHARE, "--model-only"), tuple(s for s in COLD_SETS if s in TWO_MODALITIES), {}, False,
            "cold items without cross streams"),
    Variant("id-less", ("--without", "id"), None, ("--model-only",), None, {}, True, "no row of its own for an item")))

HEAD_SHARE = .25     # of a fit's time, when stage one is there already
EVALUATE_SHARE = .1  # of a fit's time


class Job(collections.namedtuple("Job", "set seed variant")):
    """One result file."""
    __slots__ = ()

    @property
    def name(self):
        return "%s-%d-%s" % self

    @property
    def of_set(self):
        return SETS[self.set]

    @property
    def of_variant(self):
        return VARIANTS[self.variant]

    @property
    def base(self):
        """The job whose model this one needs, or None."""
        base = self.of_variant.base
        return None if base is None else Job(self.set, self.seed, base)

    @property
    def guess_s(self):
        variant, whole = self.of_variant, self.of_set.guess_s
        fit = 0 if variant.fit is None else whole * (1 if variant.base is None else HEAD_SHARE)
        return fit + EVALUATE_SHARE * whole


def applies(variant, set_name):
    return variant.sets is None or set_name in variant.sets


def jobs(set_names, seeds, variant_names):
    """Every job, in the order of work: a full model of every set first, so that the table is there early; then set by
    set, the other seeds before the variants. What a variant is based on is a job too, whether asked for or not."""
    wanted = set()
    for set_name in set_names:
        for variant in (VARIANTS[name] for name in variant_names):
            if not applies(variant, set_name):
                continue
            one_seed = variant.name != "full" and SETS[set_name].one_seed
            for seed in seeds[:1] if one_seed else seeds:
                job = Job(set_name, seed, variant.name)
                while job is not None:
                    wanted.add(job)
                    job = job.base
    sets, variants = list(SETS), list(VARIANTS)

    def order(job):
        first = job.variant == "full" and job.seed == seeds[0]
        return (not first, sets.index(job.set), job.variant != "full", seeds.index(job.seed),
                variants.index(job.variant))
    return sorted(wanted, key=order)


def default_variants():
    return [v.name for v in VARIANTS.values() if not v.optional]
