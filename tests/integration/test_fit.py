# SPDX-License-Identifier: Apache-2.0
"""recsys-train fit on a made-up shop: what it writes can be repeated to the last byte, also after a kill; parts that
are left out are left out; what it cannot take is refused with a sentence."""
import json
import os
import random
import re
import signal
import struct
import subprocess
import unittest

import shop
from daemon import BUILD, PATIENCE_S, SharedDaemon, die_with_parent, environment, run
from shop import item_name

TRAIN = os.path.join(BUILD, "recsys-train")
ITEMS, USERS = 120, 60
START_MS = 1700000000000
QUICK = {"width": 16, "heads": 2, "blocks": 1, "components": 6, "epochs": 3, "patience": 0, "head_epochs": 2,
         "batch_users": 16}
EPOCHS = 120  # of a training that is killed: long enough to be in the middle of it


def draw_log(rng):
    """(item, ts_ms, behaviour) of one user, oldest first. Users begin on different days: the log can be cut by time."""
    ts_ms, log, item = START_MS + rng.randrange(30) * shop.DAY_MS, [], rng.randrange(ITEMS)
    for _ in range(rng.randrange(4, 14)):
        log.append((item, ts_ms, rng.choice(("view", "view", "purchase", "dislike"))))
        item = (item + 2) % ITEMS if rng.random() < .7 else rng.randrange(ITEMS)
        ts_ms += int(1000 * 2 ** rng.uniform(0, 16))
    return log


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def read_model(path):
    """(tensor's numbers by name, metadata) of a file; only of its F32 tensors."""
    content = contents(path)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] == "F32":
            tensors[name] = struct.unpack("<%df" % ((end - begin) // 4), content[8 + length + begin:8 + length + end])
    return tensors, {key: json.loads(metadata[key]) for key in ("architecture", "training")}


def epochs_of(path, stage=1):
    """Numbers of the epochs that the log beside a model tells of a stage."""
    records = [json.loads(line) for line in contents(path + ".ndjson").splitlines()]
    return [record["epoch"] for record in records if record.get("stage") == stage]


class FitCase(SharedDaemon):
    @classmethod
    def fill(cls, client):
        rng = random.Random(8)
        shop.put_items(client, ITEMS)
        shop.put_features(client, ITEMS)
        shop.put_features(client, ITEMS - 20, "image", shop.IMAGE)  # some lack the image
        client.call("event.add", cascade_create=True, events=[
            {"user": "u%d" % user, "item": item_name(item), "ts": ts_ms, "behaviour": behaviour}
            for user in range(USERS) for item, ts_ms, behaviour in draw_log(rng)])

    def setUp(self):
        self.out = os.path.join(self.directory(), "model")

    def command(self, out, *arguments, **options):
        settings = {**QUICK, **options}
        return [TRAIN, "fit", "--data-dir", self.server.data_dir, "--out", out, "--threads", "2",
                *("--set=%s=%s" % setting for setting in settings.items()), *arguments]

    def fit(self, out, *arguments, **options):
        """The file's bytes."""
        done = run(*self.command(out, "--holdout", "leave-one-out", *arguments, **options), timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.left_over(), [])
        return contents(out)

    def left_over(self):
        names = os.listdir(os.path.dirname(self.out))
        return [name for name in names if "checkpoint" in name or name.endswith(".part")]

    def check_refused(self, arguments, code, *words):
        """That exit code, a sentence with those words, and nothing written."""
        done = run(*self.command(self.out, *arguments))
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertTrue(done.stderr.startswith("recsys-train: "), done.stderr)
        self.assertLessEqual(len(done.stderr.splitlines()), 2, done.stderr)
        self.assertFalse(os.path.exists(self.out))


class Bytes(FitCase):
    def test_the_same_seed_gives_the_same_bytes(self):
        options = {"feature_noise": .05, "random_window": 1, "history": 6}
        first = self.fit(self.out, "-q", "--seed", "7", **options)
        self.assertEqual(self.fit(self.out + "-again", "--seed", "7", **options), first)
        self.assertNotEqual(self.fit(self.out + "-other", "--seed", "8", **options), first)
        log = [json.loads(line) for line in contents(self.out + ".ndjson").splitlines()]
        self.assertEqual((log[0]["event"], log[-1]["event"]), ("begin", "end"))
        self.assertEqual(epochs_of(self.out), [1, 2, 3])
        self.assertEqual(epochs_of(self.out, 2), [1, 2])

    def test_stage_one_of_another_model(self):
        """The streams have no part in stage one: taking it over is as good as doing it again."""
        whole = self.fit(self.out)
        again = self.fit(self.out + "-again", "--without", "streams")
        taken = self.fit(self.out + "-taken", "--without", "streams", "--stage-one", self.out)
        self.assertEqual(taken, again)
        self.assertNotEqual(taken, whole)
        self.assertEqual(epochs_of(self.out + "-taken"), [])

    def test_stage_one_of_a_model_that_does_not_fit(self):
        self.fit(self.out, width=8)
        done = run(*self.command(self.out + "-taken", "--holdout", "leave-one-out", "--stage-one", self.out))
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn(self.out, done.stderr)
        self.assertFalse(os.path.exists(self.out + "-taken"))

    def test_kinds_of_holdout(self):
        told = {}
        for kind in ("leave-one-out", "time", "none"):
            path = "%s-%s" % (self.out, kind)
            self.fit(path, "--holdout", kind)  # the last word counts
            training = read_model(path)[1]["training"]
            self.assertEqual(training["holdout"], kind)
            self.assertGreater(training["metrics"]["validation"]["hr@10"], 0, kind)
            told[kind] = training["data"]
        events = told["none"]["events"]
        self.assertEqual(told["none"]["training_events"], events - USERS)
        self.assertEqual(told["leave-one-out"]["training_events"], events - 2 * USERS)
        self.assertAlmostEqual(told["time"]["training_events"], .8 * events, delta=2)


class Killed(FitCase):
    def kill(self, arguments, after):
        """Start a training and kill it as soon as it tells of that epoch."""
        process = subprocess.Popen(self.command(self.out, *arguments, epochs=EPOCHS), env=environment(), text=True,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        try:
            for line in process.stderr:
                if re.search(r"stage %d epoch %d/" % after, line):
                    break
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
            self.assertEqual(process.wait(PATIENCE_S), -signal.SIGKILL, "it had ended before it was killed")
            process.stderr.close()
        self.assertFalse(os.path.exists(self.out))

    def finish(self, arguments):
        done = run(*self.command(self.out, *arguments, epochs=EPOCHS), timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [int(epoch) for epoch in re.findall(r"stage 1 epoch (\d+)/", done.stderr)]

    def undisturbed(self, arguments):
        path = os.path.join(self.directory(), "model")
        done = run(*self.command(path, "-q", *arguments, epochs=EPOCHS), timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return contents(path)

    def test_goes_on_to_the_same_bytes(self):
        arguments = ["--holdout", "leave-one-out", "--set", "average=0.9"]
        self.kill(arguments, (1, 4))
        self.assertTrue(os.path.exists(self.out + ".checkpoint"))
        run_again = self.finish(arguments)
        self.assertGreater(run_again[0], 1, "it started over")
        self.assertEqual(run_again[-1], EPOCHS)
        self.assertEqual(epochs_of(self.out), list(range(1, EPOCHS + 1)), "each once")
        self.assertEqual(self.left_over(), [])
        self.assertEqual(contents(self.out), self.undisturbed(arguments))

    def test_in_production_too(self):
        """Killed in the run on everything: stage one is not done again, and the head is."""
        self.kill(["--holdout", "none"], (3, 2))
        self.assertEqual(self.finish(["--holdout", "none"]), [])
        self.assertEqual(self.left_over(), [])
        self.assertEqual(contents(self.out), self.undisturbed(["--holdout", "none"]))

    def test_starts_over(self):
        """When told to, and where the checkpoint is of other options."""
        arguments = ["--holdout", "leave-one-out"]
        self.kill(arguments, (1, 4))
        self.assertEqual(self.finish(arguments + ["--no-resume"])[0], 1)
        wanted = self.undisturbed(arguments)
        self.assertEqual(contents(self.out), wanted)
        os.unlink(self.out)
        self.kill(arguments + ["--seed", "2"], (1, 4))
        self.assertEqual(self.finish(arguments)[0], 1)
        self.assertEqual(contents(self.out), wanted)

    def test_a_damaged_checkpoint_is_told(self):
        with open(self.out + ".checkpoint", "wb") as file:
            file.write(b"no checkpoint at all" * 10)
        self.check_refused(["--holdout", "leave-one-out"], 65, self.out + ".checkpoint", "--no-resume")
        self.fit(self.out, "--no-resume")


class Without(FitCase):
    def without(self, *parts):
        path = self.out + "-".join(parts)
        self.fit(path, "-q", *(word for part in parts for word in ("--without", part)))
        tensors, metadata = read_model(path)
        self.assertEqual(metadata["training"]["without"], list(parts))
        return tensors, metadata["architecture"]

    def test_whole(self):
        """So that what is missing below is missing for one reason."""
        tensors, architecture = self.without()
        self.assertEqual([view["modality"] for view in architecture["views"]], ["text", "image"])
        self.assertEqual((architecture["blocks"], len(architecture["streams"])), (1, 4))
        for name in ("encoder.id.embedding", "similarity.0.time", "block.0.time", "head.cooccurrence",
                     "head.popularity", "head.recent", "head.sequence"):
            self.assertTrue(any(tensors[name]), name)

    def test_id(self):
        tensors, architecture = self.without("id")
        self.assertEqual((len(tensors["encoder.id.embedding"]), len(tensors["items.count"])), (0, 0))
        self.assertEqual(architecture["blocks"], 1)

    def test_sequence(self):
        tensors, architecture = self.without("sequence")
        self.assertEqual(architecture["blocks"], 0)
        self.assertFalse([name for name in tensors if name.startswith(("encoder.", "block.", "sequence."))])
        self.assertEqual(len(architecture["streams"]), 4)

    def test_streams(self):
        streams = self.without("streams")[1]["streams"]
        cross = self.without("cross")[1]["streams"]
        same = self.without("same")[1]["streams"]
        self.assertEqual(streams, [])
        self.assertEqual([s["pick"] - s["judge"] for s in cross], [0, 0])
        self.assertEqual(sorted(s["pick"] - s["judge"] for s in same), [-1, 1])

    def test_numbers_that_rest_at_zero(self):
        tensors = self.without("cooccurrence", "prior", "time")[0]
        for name in ("head.cooccurrence", "head.popularity", "head.recent", "head.novelty", "similarity.0.time", "similarity.1.time",
                     "block.0.time"):
            self.assertFalse(any(tensors[name]), name)
        self.assertTrue(any(tensors["block.0.position"]))

    def test_modality(self):
        tensors, architecture = self.without("image")
        self.assertEqual([view["modality"] for view in architecture["views"]], ["text"])
        self.assertEqual(len(architecture["streams"]), 1)
        self.assertFalse([name for name in tensors if "image" in name])
        self.assertEqual(self.without("text", "image")[1]["views"], [])


class Refused(FitCase):
    def test_part(self):
        self.check_refused(["--without", "colour"], 65, "'colour'")

    def test_option(self):
        self.check_refused(["--set", "epoch=3"], 65, "'epoch'", "'epochs'")
        self.check_refused(["--set", "dropout=2"], 65, "'dropout'", "0.95")
        self.check_refused(["--set", "width=15"], 65, "heads", "15")

    def test_options_file(self):
        path = os.path.join(self.directory(), "options.yaml")
        with open(path, "w", encoding="ascii") as file:
            file.write("width: 16\nlearning_rat: 0.1\n")
        self.check_refused(["--options", path], 65, path, "line 2", "'learning_rate'")
        self.check_refused(["--options", path + ".none"], 66, path + ".none")

    def test_command_line(self):
        for arguments in (["--holdout", "weekly"], ["--seed", "-1"], ["--seed", "first"], ["--threads", "0"],
                          ["--cold-share", "1.5"], ["--cold-share", "some"], ["--no-such-option"], ["word"]):
            self.check_refused(arguments, 64, arguments[-1])
        done = run(TRAIN, "fit", "--data-dir", self.server.data_dir)
        self.assertEqual((done.returncode, "--out" in done.stderr), (64, True))

    def test_stage_one_that_is_not_there(self):
        self.check_refused(["--stage-one", "/no/such/model"], 66, "/no/such/model")

    def test_place_that_cannot_be_written(self):
        done = run(*self.command("/no/such/directory/model"))
        self.assertIn(done.returncode, (65, 73), done.stderr)
        self.assertIn("/no/such/directory/model", done.stderr)

    def test_shop_without_events(self):
        server = self.daemon().start()
        shop.put_items(server.json(), 5)
        server.stop()
        self.check_refused(["--data-dir", server.data_dir], 65, "two events")

    def test_help_tells_every_option(self):
        done = run(TRAIN, "fit", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("--no-resume", "--stage-one", "learning_rate", "head_epochs"):
            self.assertIn(word, done.stdout)


if __name__ == "__main__":
    unittest.main()
