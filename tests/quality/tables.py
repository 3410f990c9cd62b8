# SPDX-License-Identifier: Apache-2.0
"""How the report writes: numbers, tables, and the lines that gather."""
import bootstrap
import plan
import results as results_of


def four(value):
    """.1234"""
    if value is None:
        return "–"
    text = "%.4f" % abs(value)
    return ("-" if value < 0 and float(text) else "") + (text[1:] if text.startswith("0") else text)


def signed(value):
    return "+" + four(value) if value > 0 else four(value)


def percent(value):
    return "%.1f %%" % (100 * value)


def with_interval(interval, form=signed):
    return "–" if interval is None else "%s (%s to %s)" % tuple(map(form, interval[:3]))


def marked(interval):
    """Bold where it is wholly on one side of 0."""
    return ("**%s**" if interval.low > 0 or interval.high < 0 else "%s") % with_interval(interval)


def table(head, rows):
    """Lines of a Markdown table; the first column is text, the others are numbers."""
    if not rows:
        return []
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


def yes(met):
    return "yes" if met else "**no**"


class Report:
    """Lines, and what was required: (sentence, met) in the order of the issue."""

    def __init__(self, results, lacking):
        self.results = results
        self.lacking = lacking  # (set) -> {modality: items without it}
        self.lines, self.required, self.notes = [], [], []

    def require(self, sentence, met):
        self.required.append((sentence, met))
        return yes(met)

    def section(self, title, *texts):
        self.lines += ["## " + title, ""]
        for text in texts:
            self.lines += [text, ""]

    def attempt(self, what, function, *arguments):
        """What `function` returns; None, and a note, where results do not fit together."""
        try:
            return function(self, *arguments)
        except results_of.Broken as error:
            self.notes.append("%s left out: %s" % (what, error))
            self.require("%s: %s" % (what, error), False)
            return None

    def sets(self, variant="full"):
        return [s for s in plan.SETS.values() if self.results.of(s.name, variant)]

    def common(self, set_name, *variants):
        """Results of these variants with the seeds that all have: [[results of the first], ...]; [] without one."""
        seeds = set.intersection(*(set(self.results.seeds(set_name, v)) for v in variants))
        return [[self.results.get(set_name, seed, v) for seed in sorted(seeds)] for v in variants] if seeds else []


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def compare(a, b, statistic=bootstrap.difference, chosen=None):
    return bootstrap.paired(*results_of.side_by_side(a, b, chosen), statistic=statistic)
