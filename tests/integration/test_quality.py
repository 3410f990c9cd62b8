# SPDX-License-Identifier: Apache-2.0
"""make quality: what the report says of made-up results, and which jobs are done, by a recsys-train that pretends."""
import json
import math
import os
import random
import re
import shutil
import stat
import sys
import unittest

import shop
from daemon import BUILD, ROOT, TestCase, run

QUALITY = os.path.join(ROOT, "tests", "quality")
sys.path.insert(0, QUALITY)
import bootstrap  # noqa: E402
import plan  # noqa: E402
import report  # noqa: E402
import results  # noqa: E402

HEAD = ("user", "at", "item", "train_count", "history_length", "cold", "model")
CONTENT = ("default", "markov", "content-text", "content-image")


class Numbers(unittest.TestCase):
    def test_a_tied_rank_of_k_and_a_half_counts(self):
        self.assertEqual([results.hit(rank) for rank in (1, 10, 10.5, 11)], [1, 1, 1, 0])
        self.assertEqual([round(results.ndcg(rank), 6) for rank in (1, 3, 10.5, 11)],
                         [1, .5, round(1 / math.log2(11.5), 6), 0])

    def test_numbers_as_text(self):
        self.assertEqual([report.four(x) for x in (.12344, -.05, 1, 0, -.00001, 10.5, None)],
                         [".1234", "-.0500", "1.0000", ".0000", ".0000", "10.5000", "–"])


class Bootstrap(unittest.TestCase):
    USERS, RESAMPLES = 300, 4000

    def gains(self, users, one_in):
        """A user's events have the same gain, so that it matters who is drawn; one user in `one_in` has any."""
        return [1.0 if random.Random(user).randrange(one_in) == 0 else 0.0 for user in users]

    def naive(self, users, a, b):
        of_user = {}
        for user, x, y in zip(users, a, b):
            of_user.setdefault(user, []).append((x, y))
        noise, names, values = random.Random(7), list(of_user), []
        for _ in range(self.RESAMPLES):
            drawn = [pair for name in noise.choices(names, k=len(names)) for pair in of_user[name]]
            values.append(sum(x - y for x, y in drawn) / len(drawn))
        values.sort()
        return values[int(self.RESAMPLES * .025)], values[-1 - int(self.RESAMPLES * .025)]

    def check(self, users):
        a, b = self.gains(users, 3), self.gains(users, 12)
        found = bootstrap.paired(users, a, b, resamples=self.RESAMPLES)
        low, high = self.naive(users, a, b)
        self.assertAlmostEqual(found.value, (sum(a) - sum(b)) / len(a), 12)
        self.assertAlmostEqual(found.low, low, delta=.08 * (high - low))
        self.assertAlmostEqual(found.high, high, delta=.08 * (high - low))

    def test_the_short_cut_is_the_plain_bootstrap(self):
        self.check(["u%d" % i for i in range(self.USERS)])

    def test_a_user_is_drawn_with_all_events(self):
        self.check(["u%d" % (i // 3 if i % 2 else i) for i in range(self.USERS)])

    def test_nothing_to_draw_and_nothing_that_differs(self):
        self.assertIsNone(bootstrap.paired([], [], []))
        self.assertEqual(bootstrap.paired(["a", "b"], [1, 0], [1, 0])[:3], (0, 0, 0))
        self.assertEqual(bootstrap.paired(["a", "b"], [0, 0], [0, 0], bootstrap.relative_loss)[:3], (0, 0, 0))


class Plan(unittest.TestCase):
    def names(self, *arguments):
        return [job.name for job in plan.jobs(*arguments)]

    def test_a_full_model_of_every_set_first(self):
        names = self.names(["ml1m", "scientific-clip"], [1, 2], ["full", "no-streams"])
        self.assertEqual(names, ["scientific-clip-1-full", "ml1m-1-full", "scientific-clip-2-full",
                                 "scientific-clip-1-no-streams", "scientific-clip-2-no-streams", "ml1m-2-full",
                                 "ml1m-1-no-streams"])  # of ml1m, variants of the first seed only

    def test_what_a_variant_is_based_on_is_made_too(self):
        self.assertEqual(self.names(["scientific"], [3], ["cold-same-only"]),
                         ["scientific-3-cold", "scientific-3-cold-same-only"])

    def test_variants_only_where_they_say_something(self):
        self.assertEqual(self.names(["ml100k"], [1], ["no-content", "cross-only", "no-time"]), ["ml100k-1-no-time"])


class ManPage(unittest.TestCase):
    def read(self, *names):
        with open(os.path.join(ROOT, *names), encoding="utf-8") as file:
            return file.read()

    def test_every_training_option_with_its_default(self):
        source = re.findall(r"^    X\((\w+), +(\S+?),", self.read("daemon", "train_options.h"), re.M)
        page = re.findall(r"^\*(\w+)\* \((\S+)\)$", self.read("etc", "man", "recsys-train.1.scd"), re.M)
        self.assertGreater(len(source), 20)
        self.assertEqual({name: float(value) for name, value in page}, {name: float(value) for name, value in source})


class ReportOfResults(TestCase):
    """100 users of whom the model finds a given share at the first place, all others nowhere."""

    def setUp(self):
        self.results, self.data = self.directory(), self.directory()

    def write(self, set_name, seed, variant, found, baselines=None, users=100, **quality):
        columns, baselines = [found, *(baselines or {}).values()], baselines or {}
        rows = [HEAD + tuple(baselines)]
        for user in range(users):
            facts = ("u%d" % user, 5, "i%d" % (user % 50), user % 30, 3 + user % 30, int(user % 10 == 0))
            rows.append(facts + tuple("1" if user in hits else "500" for hits in columns))
        path = os.path.join(self.results, "%s-%d-%s" % (set_name, seed, variant))
        with open(path + ".ranks", "w", encoding="utf-8") as out:
            out.writelines("\t".join(map(str, row)) + "\n" for row in rows)

        def metrics(hits):
            return {"ndcg@10": len(hits) / users, "hr@10": len(hits) / users}
        base = plan.VARIANTS[variant].base
        quality = {"set": set_name, "seed": seed, "variant": variant, "fingerprint": {"program": "p"},
                   "fit": {"seconds": 100.0 + seed, "resumed": False}, "model_sha256": variant, "base_sha256": base,
                   "machine": {"version": "recsys-train 9.9", "cores": 2, "blas": "Haswell"}, **quality}
        found = {"model": metrics(found), "users": users, "quality": quality,
                 "baselines": {name: metrics(hits) for name, hits in baselines.items()}}
        with open(path + ".json", "w", encoding="utf-8") as out:
            json.dump(found, out)

    def report(self):
        out = os.path.join(self.directory(), "quality.md")
        report.write(self.results, self.data, out)
        with open(out, encoding="utf-8") as file:
            return file.read()

    def full(self, set_name, found, **more):
        """Two seeds of a full model, with baselines that find less and less."""
        baselines = {name: set(range(0, 40 - 10 * k)) for k, name in enumerate(CONTENT)}
        for seed in (1, 2):
            self.write(set_name, seed, "full", found, baselines, **more)

    def test_the_table_that_must_be_shown(self):
        self.full("scientific-clip", set(range(60)))
        text = self.report()
        self.assertIn("| scientific-clip | .1250 | .1330 | .6000 | 1: .6000 2: .6000 | .6000 | hoped for "
                      "| default .4000, +50.0 % | 102 |", text)
        self.assertIn("* [x] scientific-clip: NDCG@10 .6000, at least .1250 (mean of seeds 1, 2)", text)
        self.assertIn("* [x] scientific-clip: trained in 102 s, under 180 s", text)
        self.assertIn("| scientific-clip | markov (best plain one) | .3000 | .3000 | +100.0 % |", text)
        self.assertIn("| recsys-train 9.9 | – | 2 | Haswell | – |", text)

    def test_over_the_best_baseline(self):
        self.full("ml100k", set(range(43)))  # 7.5 % over
        text = self.report()
        self.assertIn("* [ ] ml100k: NDCG@10 .4300, at least .4400", text)
        self.assertIn("| ml100k | +10 % | +25 % | .4300 | 1: .4300 2: .4300 | .4300 | **no** | default .4000, +7.5 % |",
                      text)

    def test_trained_above_default_above_markov(self):
        self.full("scientific", set(range(60)))
        text = self.report()
        self.assertRegex(text, r"\| scientific \| trained − default \| \+\.2000 \(\+\.1\d* to \+\.2\d*\) \| yes "
                               r"\| yes \|")
        self.assertRegex(text, r"\* \[x\] scientific: default − Markov is \+\.1000")

    def test_what_variants_lose(self):
        self.full("instruments", set(range(60)))
        for seed in (1, 2, 3):  # the third has no full model to be compared with
            self.write("instruments", seed, "no-streams", set(range(54)))
            self.write("instruments", seed, "no-cooccurrence", set(range(1, 61)))
        text = self.report()
        self.assertRegex(text, r"\| instruments \| no-streams \| 2 \| \.6000 \| \.5400 \| 10\.0 % \(.*\) \| 1\.0 % "
                               r"\| yes \|")
        self.assertRegex(text, r"\* \[ \] instruments: no-cooccurrence loses 0\.0 % \(-.*\), at least 2\.0 %")

    def test_what_the_cross_streams_are_worth(self):
        os.mkdir(os.path.join(self.data, "scientific"))
        shop.write_inter(os.path.join(self.data, "scientific", "scientific.item"),
                         [("i%d" % i, "x") for i in range(50)], "item_id:token\ttitle:token_seq")
        with open(os.path.join(self.data, "scientific", "image_feat.ids"), "w", encoding="ascii") as out:
            out.writelines("i%d\n" % i for i in range(40))
        self.full("scientific", set(range(60)))
        for seed in (1, 2):
            self.write("scientific", seed, "same-only", set(range(40)))
            self.write("scientific", seed, "cross-only", set(range(60)))
        text = self.report()
        self.assertRegex(text, r"\| scientific \| all \| 100 \| \.6000 \| \.4000 \| \.6000 \| \*\*\+\.2000 .*\*\* "
                               r"\| \.0000 ")
        # items 40 to 49 are those of users 40 to 49 and 90 to 99
        self.assertRegex(text, r"\| scientific \| target without image \| 20 \| \.5000 \| \.0000 \|")
        self.assertRegex(text, r"\| scientific \| target never seen in training \| 4 \|")
        self.assertIn("* [x] with the cross streams no set is worse", text)
        self.assertRegex(text, r"\* \[x\] with the cross streams a set or slice is better, .* out of \d+ looked at: "
                               r"scientific, all")

    def test_cold_items_against_content(self):
        self.full("scientific-clip", set(range(60)))
        contents = {"markov": set(), "content-text": {0, 10}, "content-image": {0, 10, 20}}
        self.write("scientific-clip", 1, "cold", {0, 10, 20, 30, 40, 50, 60, 70, 80}, contents)
        self.write("scientific-clip", 1, "warm", set(range(60)))
        text = self.report()
        self.assertRegex(text, r"\| scientific-clip \| 10 \| \.9000 \| \.9000 \| content-image \.3000 \| \+\.6000 "
                               r"\(.*\) \| yes \| \.0000 \| \.6000 \|")
        self.assertNotIn("it is not warm", text)

    def test_what_is_odd_is_said(self):
        self.full("scientific-clip", set(range(60)))
        self.write("scientific-clip", 1, "no-streams", set(range(50)), users=99)
        self.write("scientific-clip", 2, "no-cooccurrence", set(range(50)), base_sha256="another",
                   fingerprint={"program": "q"}, fit={"seconds": 3, "resumed": True})
        with open(os.path.join(self.results, "half.json"), "w", encoding="ascii") as out:
            out.write("{")
        text = self.report()
        for sentence in ("scientific-clip, no-streams left out: two results to be compared are about different events",
                         "scientific-clip-2-no-cooccurrence has its stage one from another model",
                         "scientific-clip-2-no-cooccurrence was interrupted and resumed", "from 2 builds",
                         "half.json' is no"):
            self.assertIn(sentence, text)

    def test_without_any_result(self):
        self.assertIn("Required: 0 of 0 met.", self.report())


PRETENDER = '''#!/usr/bin/python3
import json, os, struct, sys
def value(name, default=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default
if sys.argv[1] == "--version":
    print("recsys-train 9.9")
    sys.exit()
with open(os.environ["PRETENDER_LOG"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "fit":
    resumed = os.path.exists(value("--out") + ".checkpoint")
    if value("--without") == os.environ.get("PRETENDER_FAILS"):
        open(value("--out") + ".checkpoint", "w").close()
        sys.exit("recsys-train: no luck, resumed: %s" % resumed)
    training = json.dumps({"metrics": {"validation": {"ndcg@10": 0.25}}})
    header = json.dumps({"__metadata__": {"training": training, "made": " ".join(sys.argv)}}).encode()
    with open(value("--out"), "wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
else:
    with open(value("--ranks"), "w") as out:
        out.write("user\\tat\\titem\\ttrain_count\\thistory_length\\tcold\\tmodel\\nu\\t2\\ti\\t1\\t2\\t0\\t1\\n")
    print(json.dumps({"model": {"ndcg@10": 1.0, "hr@10": 1.0}}))
'''


MADE = ["fit", "evaluate", "fit", "evaluate", "evaluate"]  # full, no-streams, and warm, which fits nothing


class Jobs(TestCase):
    """quality.py with a program that trains nothing, on a shop that the real daemon imports."""
    VARIANTS = "full no-streams warm"

    def setUp(self):
        self.directory_of_all = self.directory()
        self.bin, self.data = self.path("bin"), self.path("data")
        os.makedirs(os.path.join(self.data, "scientific-clip"))
        os.mkdir(self.bin)
        for name in ("recsysd", "recsysctl"):
            os.symlink(os.path.join(BUILD, name), os.path.join(self.bin, name))
        self.install(PRETENDER)
        folder = os.path.join(self.data, "scientific-clip", "")
        shop.write_items(folder + "scientific-clip.item", 20)
        shop.write_inter(folder + "scientific-clip.inter", [("u", shop.item_name(k), 1700000000 + k) for k in range(5)])
        for modality in ("text", "image"):
            shop.write_npy(folder + modality + "_feat.npy", 20, 4)

    def path(self, *names):
        return os.path.join(self.directory_of_all, *names)

    def install(self, text):
        path = os.path.join(self.bin, "recsys-train")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)

    def quality(self, *arguments, fails=""):
        """The completed process, and the command lines of recsys-train."""
        log = self.path("log")
        if os.path.exists(log):
            os.remove(log)
        done = run(sys.executable, os.path.join(QUALITY, "quality.py"), "--sets", "scientific-clip", "--seeds", "1",
                   "--variants", self.VARIANTS, "--data", self.data, "--build", self.path("build", "quality"),
                   *arguments,
                   env={"RECSYSD_BUILD": self.bin, "PRETENDER_LOG": log, "PRETENDER_FAILS": fails})
        calls = []
        if os.path.exists(log):
            with open(log, encoding="utf-8") as file:
                calls = [json.loads(line) for line in file]
        return done, calls

    def result(self, variant, suffix=".json"):
        return self.path("build", "quality", "results", "scientific-clip-1-" + variant + suffix)

    def test_each_result_once_and_only_what_is_missing(self):
        done, calls = self.quality()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual([call[0] for call in calls], MADE)
        self.assertIn("all", calls[1])  # every part of the first full model is switched off once
        self.assertTrue(calls[2][calls[2].index("--stage-one") + 1].endswith("scientific-clip-1-full.safetensors"))
        self.assertIn("--cold-share", calls[4])
        self.assertEqual(len(re.findall(r"^\[\d/3\] scientific-clip-1-\S+: NDCG@10 1.0000", done.stdout, re.M)), 3)
        self.assertTrue(os.path.exists(self.path("build", "quality.md")))
        self.assertEqual(self.quality()[1], [])
        os.remove(self.result("no-streams"))  # interrupted after the fit: that is not done again
        self.assertEqual([call[0] for call in self.quality()[1]], ["evaluate"])

    def test_what_is_older_than_the_program_is_kept_unless_told(self):
        self.quality()
        self.install(PRETENDER + "# another build\n")
        done, calls = self.quality()
        self.assertIn("scientific-clip-1-full: older than the program; kept", done.stdout)
        self.assertEqual(calls, [])
        done, calls = self.quality("--fresh")
        self.assertEqual([call[0] for call in calls], MADE)
        self.assertEqual(self.quality("--fresh")[1], [])

    def test_a_failure_is_told_and_the_rest_is_made(self):
        done, _ = self.quality(fails="streams")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"no-streams: FAILED: fit ended with 1: recsys-train: no luck")
        self.assertTrue(os.path.exists(self.result("warm")))
        self.assertFalse(os.path.exists(self.result("no-streams")))

    def test_a_checkpoint_is_gone_on_with_only_by_the_program_that_wrote_it(self):
        def outcome():
            return re.search("resumed: (True|False)", self.quality(fails="streams")[0].stdout).group(1)
        self.assertEqual([outcome(), outcome()], ["False", "True"])
        self.install(PRETENDER + "# another build\n")
        self.assertEqual([outcome(), outcome()], ["False", "True"])

    def test_a_set_that_is_not_there(self):
        shutil.rmtree(os.path.join(self.data, "scientific-clip"))
        done, calls = self.quality()
        self.assertEqual((done.returncode, calls), (1, []))
        self.assertIn("say where the sets are with DATA=DIR", done.stdout)


if __name__ == "__main__":
    unittest.main()
