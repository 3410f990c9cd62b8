# SPDX-License-Identifier: Apache-2.0
"""What followed what, and how often: the reference of models/counts.c, over whole logs.

    C[i -> c] grows by 1, 1/2, 1/3 where c follows i at distance 1, 2, 3      P = C / (row sum + 5)
    popularity = events; recent = events of 32 days, halved every 7 days before the end of the newest day"""
import collections

SHRINKAGE = 5.0
DAY_MS = 86400000
RECENT_DAYS, HALF_LIFE_DAYS = 32, 7.0


class Counts:
    """`logs`: for each user (item, ts_ms) oldest first, of behaviours whose weight is above 0."""

    def __init__(self, logs):
        self.transitions = collections.defaultdict(collections.Counter)  # in sixths, so that they are whole
        self.popularity, self.days = collections.Counter(), collections.Counter()
        for log in logs:
            for at, (item, ts_ms) in enumerate(log):
                for distance, sixths in ((1, 6), (2, 3), (3, 2)):
                    if at >= distance:
                        self.transitions[log[at - distance][0]][item] += sixths
                self.popularity[item] += 1
                self.days[ts_ms // DAY_MS, item] += 1
        self.newest = max((day for day, _ in self.days), default=0)

    def probability(self, before, after):
        row = self.transitions.get(before)
        return row[after] / 6 / (sum(row.values()) / 6 + SHRINKAGE) if row else 0.0

    def probability_before(self, after, before):
        """How much of what came before `after` was `before`."""
        column = {i: row[after] / 6 for i, row in self.transitions.items() if after in row}
        return column.get(before, 0.0) / (sum(column.values()) + SHRINKAGE)

    def recent(self, item, now_ms):
        since_days = max(0.0, (now_ms - (self.newest + 1) * DAY_MS) / DAY_MS)
        total = 0.0
        for age_days in range(RECENT_DAYS):
            total += self.days[self.newest - age_days, item] * 2 ** (-(age_days + since_days) / HALF_LIFE_DAYS)
        return total
