# SPDX-License-Identifier: Apache-2.0
"""recsys-train evaluate: what it tells, against the made-up shop's own files and against the ranks it writes."""
import collections
import json
import math
import os
import pty
import re
import subprocess
import unittest

from daemon import BUILD, RECSYSCTL, SharedDaemon, die_with_parent, environment, run

TRAIN = os.path.join(BUILD, "recsys-train")
ITEMS, USERS = 400, 150
BASELINES = {"popularity", "popularity-7d", "markov", "content-text", "content-image"}
METRICS = {"%s@%d" % (name, k) for name in ("hr", "ndcg", "mrr") for k in (1, 5, 10, 20)}
METRICS |= {"coverage@10", "gini@10", "novelty@10", "ild@10", "ndcg@10_interval", "hr@10_interval"}
DIFFERENCES = {"difference", "hr@10_difference"}
STREAMS = {"text>text", "text>image", "image>text", "image>image"}


def gain(rank, k=10):
    """HR and NDCG of one target; a tied rank of k + 1/2 counts."""
    return (1.0, 1 / math.log2(1 + rank)) if rank < k + 1 else (0.0, 0.0)


def mean(values):
    return sum(values) / len(values) if values else 0.0


class Evaluate(SharedDaemon):
    @classmethod
    def fill(cls, client):
        path = cls.server.directory
        made = run(os.path.join(BUILD, "make_shop"), "--out", path, "--items", str(ITEMS), "--users", str(USERS),
                   "--events", "12", "--until-ms", "1700000000000")
        assert made.returncode == 0, made.stderr
        done = run(RECSYSCTL, "--endpoint", cls.server.endpoint, "-q", "import", "--items", path + "/shop.item",
                   "--inter", path + "/shop.inter", "--feature", "text=" + path + "/text.npy",
                   "--feature", "image=" + path + "/image.npy")
        assert done.returncode == 0, done.stderr
        cls.history = collections.defaultdict(list)  # of each user: (item, seconds), oldest first
        with open(path + "/shop.inter", encoding="utf-8") as file:
            next(file)
            for line in file:
                user, item, seconds = line.split("\t")[:3]
                cls.history[user].append((item, int(seconds)))
        with open(path + "/image.ids", encoding="utf-8") as file:
            cls.pictured = set(file.read().split())

    # ---- what the tests share

    def call(self, *arguments, **more):
        return run(TRAIN, "evaluate", "--data-dir", self.server.data_dir, *arguments, timeout=120, **more)

    def evaluate(self, *arguments):
        done = self.call("-o", "json", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def ranks(self, *arguments):
        """The report, the columns that have ranks, and the rows as dictionaries."""
        path = os.path.join(self.directory(), "ranks")
        report = self.evaluate("--ranks", path, *arguments)
        with open(path, encoding="utf-8") as file:
            head, *lines = [line.rstrip("\n").split("\t") for line in file]
        self.assertEqual(head[:6], ["user", "at", "item", "train_count", "history_length", "cold"])
        rows = [dict(zip(head, line)) for line in lines]
        for row in rows:
            for key in head[3:]:
                row[key] = float(row[key])
        return report, head[6:], rows

    def check_metrics(self, metrics, rows, name):
        """The report's means are those of the ranks."""
        gains = [gain(row[name]) for row in rows]
        self.assertAlmostEqual(metrics["hr@10"], mean([hit for hit, _ in gains]), places=5, msg=name)
        self.assertAlmostEqual(metrics["ndcg@10"], mean([ndcg for _, ndcg in gains]), places=5, msg=name)

    def training_counts(self, histories):
        return collections.Counter(item for events in histories for item, _ in events)

    @classmethod
    def fit(cls, *arguments):
        path = os.path.join(cls.server.directory, "model%d" % len(os.listdir(cls.server.directory)))
        done = run(TRAIN, "fit", "-q", "--data-dir", cls.server.data_dir, "--out", path, "--holdout", "leave-one-out",
                   "--threads", "1", "--seed", "1", "--set", "width=16", "--set", "epochs=2", "--set", "head_epochs=2",
                   *arguments, timeout=120)
        assert done.returncode == 0, done.stderr
        return path

    # ---- the report

    def test_everything_is_there(self):
        report = self.evaluate("--model", "default", "--holdout", "leave-one-out", "--mask-seen")
        self.assertEqual(set(report["baselines"]), BASELINES)
        self.assertEqual(set(report["model"]), METRICS)
        for name, metrics in report["baselines"].items():
            self.assertEqual(set(metrics), METRICS | DIFFERENCES, name)
            for key, difference in (("ndcg@10", "difference"), ("hr@10", "hr@10_difference")):
                middle, low, high = metrics[difference]
                self.assertAlmostEqual(middle, report["model"][key] - metrics[key], places=5, msg=name)
                self.assertLessEqual(low, middle)
                self.assertGreaterEqual(high, middle)
        for metrics in [report["model"], *report["baselines"].values()]:
            for key in ("hr@10", "ndcg@10"):
                low, high = metrics[key + "_interval"]
                self.assertLessEqual(low, metrics[key])
                self.assertGreaterEqual(high, metrics[key])
            self.assertTrue(0 < metrics["coverage@10"] <= 1 and 0 <= metrics["gini@10"] < 1, metrics)
            self.assertTrue(metrics["novelty@10"] > 0 and 0 < metrics["ild@10"] < 2, metrics)
        wanted = {"users": USERS, "queries": USERS, "items": ITEMS, "holdout": "leave-one-out", "target": "test",
                  "events": sum(map(len, self.history.values())), "mask_seen": True, "now": "the target's time"}
        self.assertEqual({key: report[key] for key in wanted}, wanted)
        self.assertEqual(report["training_events"], report["events"] - 2 * USERS)
        self.assertTrue(re.fullmatch(r"default-[0-9a-f]{8}", report["model_version"]), report["model_version"])
        self.assertTrue(report["sha256"].startswith(report["model_version"][-8:]))
        self.assertGreater(report["model"]["ndcg@10"], report["baselines"]["popularity"]["ndcg@10"])
        self.assertNotIn("cold", report)
        self.assertNotIn("warnings", report)

    def test_the_same_for_any_threads(self):
        one, three = (self.evaluate("--threads", n) for n in ("1", "3"))
        for report in (one, three):
            report.pop("seconds")
        self.assertEqual(one, three)

    def test_table(self):
        done = self.call("--ablate", "prior", "--cold-share", "0.2")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("NDCG@10", "95 %", "popularity-7d", "content-image", "model without", "prior", "items 6-20",
                     "history 6-20", "target lacks image", "cold items", "COVERAGE"):
            self.assertIn(word, done.stdout)

    def test_model_only(self):
        report, columns, _ = self.ranks("--model-only")
        self.assertNotIn("baselines", report)
        self.assertEqual(columns, ["model"])

    # ---- ranks, and what can be computed from the shop's files

    def test_ranks_agree_with_the_metrics(self):
        report, columns, rows = self.ranks("--mask-seen")
        self.assertEqual(columns[0], "model")
        self.assertEqual(set(columns[1:]), BASELINES)
        self.assertEqual(len(rows), USERS)
        self.check_metrics(report["model"], rows, "model")
        for name in BASELINES:
            self.check_metrics(report["baselines"][name], rows, name)
        for key, low, high, column in (("items 0", 0, 0, "train_count"), ("items 1-5", 1, 5, "train_count"),
                                       ("items 6-20", 6, 20, "train_count"), ("items 21+", 21, 1e9, "train_count"),
                                       ("history 0", 0, 0, "history_length"), ("history 1-5", 1, 5, "history_length"),
                                       ("history 6-20", 6, 20, "history_length"),
                                       ("history 21+", 21, 1e9, "history_length")):
            self.check_slice(report["slices"][key], [row for row in rows if low <= row[column] <= high], columns)
        self.check_slice(report["slices"]["target lacks image"],
                         [row for row in rows if row["item"] not in self.pictured], columns)
        self.assertEqual(report["slices"]["target lacks text"], {"count": 0})

    def check_slice(self, part, rows, columns):
        self.assertEqual(part["count"], len(rows))
        for name in columns:
            if rows:
                self.check_metrics(part[name], rows, name)
            else:
                self.assertNotIn(name, part)

    def test_leave_one_out_hides_the_last_event_and_counts_all_but_two(self):
        counts = self.training_counts(events[:-2] for events in self.history.values())
        for target, offset in (("test", 1), ("validation", 2)):
            _, _, rows = self.ranks("--target", target)
            for row in rows:
                events = self.history[row["user"]]
                self.assertEqual(row["item"], events[-offset][0])
                self.assertEqual(int(row["at"]), len(events) - offset)
                self.assertEqual(row["history_length"], len(events) - offset)
                self.assertEqual(row["train_count"], counts[row["item"]])
                better = sum(n > row["train_count"] for n in counts.values())
                equal = sum(n == row["train_count"] for n in counts.values())
                if row["train_count"] == 0:
                    equal = ITEMS - len(counts)
                self.assertEqual(row["popularity"], 1 + better + (equal - 1) / 2)

    def test_time_holdout_asks_for_the_last_tenth(self):
        times = sorted(seconds for events in self.history.values() for _, seconds in events)
        first, second = times[len(times) * 8 // 10], times[len(times) * 9 // 10]
        counts = self.training_counts([event for event in events if event[1] < first]
                                      for events in self.history.values())
        week = self.training_counts([event for event in events if first - 7 * 86400 <= event[1] < first]
                                    for events in self.history.values())
        for target, begin, end in (("test", second, math.inf), ("validation", first, second)):
            report, _, rows = self.ranks("--holdout", "time", "--target", target)
            wanted = {(user, str(at)): item for user, events in self.history.items()
                      for at, (item, seconds) in enumerate(events) if begin <= seconds < end}
            self.assertEqual({(row["user"], row["at"]): row["item"] for row in rows}, wanted)
            self.assertEqual(report["queries"], len(wanted))
            self.assertEqual(report["users"], len({user for user, _ in wanted}))
            self.assertEqual(report["holdout"], "time")
            self.assertEqual(report["training_events"], sum(counts.values()))
            self.assertLess(report["validation_from"], report["test_from"])
            for row in rows:
                self.assertEqual(row["train_count"], counts[row["item"]])
                here = week[row["item"]]
                better = sum(n > here for n in week.values())
                equal = sum(n == here for n in week.values()) if here else ITEMS - len(week)
                self.assertEqual(row["popularity-7d"], 1 + better + (equal - 1) / 2)

    def test_the_log_up_to_a_position(self):
        whole = self.evaluate("--model-only")
        again = self.evaluate("--model-only", "--at-seq", str(whole["log_position"]))
        self.assertEqual(again["model"], whole["model"])
        newest = max(int(event["seq"]) for user in self.history
                     for event in self.client.call("user.history", user=user, n=1)["events"])
        before = self.evaluate("--model-only", "--at-seq", str(newest - 1))
        self.assertEqual((before["log_position"], before["events"]), (newest - 1, whole["events"] - 1))
        done = self.call("--at-seq", str(whole["log_position"] + 1))
        self.assertEqual(done.returncode, 65)
        self.assertIn("the log ends at", done.stderr)

    # ---- cold items

    def test_cold_items_have_no_events(self):
        report, columns, rows = self.ranks("--cold-share", "0.3", "--mask-seen")
        cold = report["cold"]
        self.assertTrue(.2 * ITEMS < cold["items"] < .4 * ITEMS, cold["items"])
        self.assertFalse(cold["warm"])
        chosen = [row for row in rows if row["cold"]]
        self.assertEqual(cold["queries"], len(chosen))
        self.assertGreater(len(chosen), 10)
        for row in chosen:
            self.assertEqual(row["train_count"], 0)
        self.assertEqual(report["slices"]["items 0"]["count"], sum(row["train_count"] == 0 for row in rows))
        self.check_metrics(cold["model"], chosen, "model")
        for name in columns[1:]:
            self.check_metrics(cold["baselines"][name], chosen, name)
            self.assertEqual(set(cold["baselines"][name]), METRICS | DIFFERENCES)
        self.assertLess(report["training_events"], self.evaluate("--model-only")["training_events"])

    def test_a_larger_share_has_the_smaller(self):
        few, many = ({row["item"] for row in self.ranks("--model-only", "--cold-share", share)[2] if row["cold"]}
                     for share in ("0.1", "0.4"))
        self.assertTrue(few < many)

    # ---- a trained model

    def test_trained_model(self):
        path = self.fit()
        report = self.evaluate("--model", path, "--mask-seen", "--ablate", "all")
        self.assertEqual(set(report["baselines"]), BASELINES | {"default"})
        untrained = self.evaluate("--mask-seen", "--model-only")["model"]
        self.assertEqual(report["baselines"]["default"]["ndcg@10"], untrained["ndcg@10"])
        ablations = report["ablations"]
        self.assertLessEqual({"id", "text", "image", "sequence", "streams", "cross", "same", "cooccurrence"} | STREAMS,
                             set(ablations))
        for name, metrics in ablations.items():
            self.assertEqual(set(metrics), METRICS | DIFFERENCES, name)
        self.assertNotIn("warnings", report)
        with open(path, "rb") as file:
            content = file.read()
        inspected = json.loads(run(TRAIN, "inspect", path, "-o", "json").stdout)
        self.assertIn(report["sha256"], json.dumps(inspected))
        self.assertIn("leave-one-out", self.evaluate("--model", path, "--holdout", "time",
                                                     "--model-only")["warnings"][0])
        damaged = os.path.join(self.directory(), "damaged")
        with open(damaged, "wb") as out:
            out.write(content[:len(content) // 2])
        done = self.call("--model", damaged)
        self.assertEqual(done.returncode, 65)
        self.assertIn(damaged, done.stderr)

    def test_a_model_that_met_the_cold_items_keeps_their_events(self):
        warm, cold = self.fit(), self.fit("--cold-share", "0.3")
        report, _, rows = self.ranks("--model", warm, "--cold-share", "0.3", "--model-only")
        self.assertTrue(report["cold"]["warm"])
        self.assertGreater(max(row["train_count"] for row in rows if row["cold"]), 0)
        report, _, others = self.ranks("--model", cold, "--cold-share", "0.3", "--model-only")
        self.assertFalse(report["cold"]["warm"])
        self.assertEqual([(row["user"], row["item"]) for row in others if row["cold"]],
                         [(row["user"], row["item"]) for row in rows if row["cold"]])
        self.assertEqual({row["train_count"] for row in others if row["cold"]}, {0})

    # ---- ablations

    def test_ablations(self):
        plain = self.evaluate("--mask-seen", "--model-only")
        every = self.evaluate("--mask-seen", "--model-only", "--ablate", "all")
        self.assertEqual(every["model"], plain["model"])
        self.assertLessEqual({"text", "image", "streams", "cross", "same", "cooccurrence"} | STREAMS,
                             set(every["ablations"]))
        self.assertNotIn("sequence", every["ablations"])
        for name, metrics in every["ablations"].items():
            self.assertAlmostEqual(metrics["difference"][0], plain["model"]["ndcg@10"] - metrics["ndcg@10"], places=5,
                                   msg=name)
        one = self.evaluate("--mask-seen", "--model-only", "--ablate", "image", "--ablate", "text,image",
                            "--ablate", "sequence", "--ablate", "text")["ablations"]
        self.assertEqual(list(one), ["image", "text,image", "sequence", "text"])
        self.assertEqual(one["text"], every["ablations"]["text"], "whatever was switched off before is on again")
        self.assertEqual(one["image"], every["ablations"]["image"])
        self.assertEqual(one["sequence"]["difference"], [0, 0, 0], "there is none to switch off")
        self.assertNotEqual(one["text"]["ndcg@10"], plain["model"]["ndcg@10"])
        self.assertNotEqual(one["text,image"]["ndcg@10"], one["text"]["ndcg@10"])

    def test_an_unknown_part_is_refused(self):
        for part in ("txt", "text>video", "text,pictures", ""):
            done = self.call("--ablate", part)
            self.assertIn(done.returncode, (64, 65), part)
            self.assertEqual(done.stdout, "")
        done = self.call("--ablate", "text,pictures")
        self.assertEqual(done.returncode, 65)
        self.assertIn("'pictures'", done.stderr)
        self.assertIn("text>image", done.stderr)

    # ---- samples of users

    def test_a_sample_of_users_is_stable(self):
        report, _, few = self.ranks("--users", "20", "--model-only")
        _, _, again = self.ranks("--users", "20", "--model-only")
        _, _, more = self.ranks("--users", "40", "--model-only")
        _, _, everybody = self.ranks("--model-only")
        self.assertEqual(few, again)
        self.assertEqual((report["users"], len(few), len(more)), (20, 20, 40))
        rows = {row["user"]: row for row in everybody}
        self.assertTrue({row["user"] for row in few} < {row["user"] for row in more})
        self.assertTrue(all(row == rows[row["user"]] for row in more), "the same answers as among all")
        self.assertNotEqual([row["user"] for row in few], [row["user"] for row in everybody][:20])
        self.assertEqual(self.evaluate("--users", "100000", "--model-only")["users"], USERS)

    # ---- as the daemon would serve

    def test_as_served(self):
        served = self.evaluate("--as-served", "--mask-seen", "--model-only")["served"]
        self.assertEqual((served["narrowed"], served["recall@10"]), (0, 1))
        self.assertAlmostEqual(served["difference"][0], 0, delta=0.02)
        path = os.path.join(self.directory(), "narrow.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write("model:\n  exhaustive: 1\n  candidates: 10\n")
        served = self.evaluate("--as-served", "--mask-seen", "--model-only", "--config", path)["served"]
        self.assertEqual(served["narrowed"], 1)
        self.assertTrue(.3 < served["recall@10"] <= 1, served["recall@10"])

    # ---- progress

    def on_a_terminal(self, *arguments):
        """What comes to stderr where that is a terminal."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen([TRAIN, "evaluate", "--data-dir", self.server.data_dir, "-o", "json", *arguments],
                                   env=environment({"TERM": "xterm"}), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=theirs, preexec_fn=die_with_parent)
        os.close(theirs)
        text = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            text += piece
        os.close(ours)
        self.assertEqual(process.wait(60), 0)
        return text.decode()

    def test_progress(self):
        text = self.on_a_terminal("--ablate", "prior")
        for word in ("\rmodel  ", "\rmarkov  ", "\rwithout prior  ", "ETA"):
            self.assertIn(word, text)
        self.assertTrue(text.endswith("\r\033[K"), "the line is taken away")
        self.assertEqual(self.on_a_terminal("--quiet"), "")

    # ---- what cannot be

    def test_bad_command_lines(self):
        for arguments in (("--users", "0"), ("--at-seq", "-1"), ("--holdout", "none"), ("--holdout", "weekly"),
                          ("--target", "train"), ("--cold-share", "2"), ("--cold-share", "x"), ("--threads", "65"),
                          ("--set", "head.decay"), ("--set", "head.stream[1=2"), ("-o", "xml"),
                          ("--ablate", "x" * 200), ("more",), ("--nope",)):
            done = self.call(*arguments)
            self.assertEqual(done.returncode, 64, arguments)
            self.assertIn("--help", done.stderr)

    def test_what_is_not_there(self):
        for code, words, arguments in ((66, "/no/such", ("--model", "/no/such")), (65, "not a file", ("--model", "/")),
                                       (65, "head.nothing[0]", ("--set", "head.nothing=1")),
                                       (73, "/no/such/ranks", ("--ranks", "/no/such/ranks", "--model-only"))):
            done = self.call(*arguments)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(words, done.stderr)

    def test_help_names_every_option(self):
        text = self.call("--help").stdout
        for option in ("data-dir", "config", "model", "holdout", "target", "mask-seen", "at-seq", "users", "ablate",
                       "cold-share", "as-served", "ranks", "set", "model-only", "threads", "output", "quiet"):
            self.assertIn("--" + option, text)

    def test_an_override_is_told(self):
        report = self.evaluate("--set", "head.cooccurrence=0", "--set", "head.stream[1]=0.25")
        self.assertEqual(report["set"], {"head.cooccurrence[0]": 0, "head.stream[1]": 0.25})
        self.assertIn("default", report["baselines"], "the model as it was")


if __name__ == "__main__":
    unittest.main()
