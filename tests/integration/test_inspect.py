# SPDX-License-Identifier: Apache-2.0
"""recsys-train inspect, on model files written here number by number; and the log that a training leaves beside its model."""
import hashlib
import json
import math
import os
import re
import struct

import shop
from daemon import BUILD, SharedDaemon, TestCase, run

TRAIN = os.path.join(BUILD, "recsys-train")
POSITIONS, BUCKETS, GATE = 64, 64, 32
TEXT, IMAGE, COMPONENTS, WIDTH, FEEDFORWARD = 6, 5, 4, 4, 6
BEHAVIOURS = ["view", "purchase", "dislike"]
LN2 = math.log(2)


def architecture(blocks=0):
    def view(name, dimension):
        return {"name": name, "modality": name, "encoder": name + "-encoder@1", "dimension": dimension,
                "components": COMPONENTS, "correction": 0}

    def similarity(name):
        return {"candidate": name, "history": name, "kind": "dot", "heads": 1, "hard": 0, "mask_missing": False}
    return {"width": WIDTH, "blocks": blocks, "heads": 1, "feedforward": FEEDFORWARD, "history": 50,
            "views": [view("text", TEXT), view("image", IMAGE)],
            "similarities": [similarity("text"), similarity("image")],
            "streams": [{"pick": p, "judge": j} for p in (0, 1) for j in (0, 1)], "behaviours": BEHAVIOURS}


def slope(count, halves_every):
    return [-LN2 / halves_every * i for i in range(count)]


def head():
    """{tensor: (shape, numbers)}"""
    tensors = {}
    for i, every in enumerate((3, 8)):
        tensors["similarity.%d.sharpness" % i] = [1], [4]
        tensors["similarity.%d.additive" % i] = [COMPONENTS], [0] * COMPONENTS
        tensors["similarity.%d.position" % i] = [POSITIONS], slope(POSITIONS, every)
        tensors["similarity.%d.time" % i] = [BUCKETS], slope(BUCKETS, 40 if i == 0 else 1000)
        tensors["similarity.%d.behaviour" % i] = [3], [0, LN2 / 4, -5]
    for name, numbers in (("stream", [.9, .31, .25, -.1]), ("stream_count", [0, .02, 0, 0]), ("value", [1, 2, -1]),
                          ("cooccurrence", [1.25]), ("reverse", [.4]), ("epsilon", [.1]), ("decay", [.5]), ("popularity", [.125]),
                          ("recent", [.01]), ("novelty", [.5])):
        tensors["head." + name] = [len(numbers)], numbers
    return tensors


def views():
    tensors = {}
    for name, dimension in (("text", TEXT), ("image", IMAGE)):
        tensors["view.%s.mean" % name] = [dimension], [0] * dimension
        tensors["view.%s.rotation" % name] = [dimension, COMPONENTS], [.1] * dimension * COMPONENTS
    return tensors


def sequence(items):
    """Encoder and one block of self-attention; zeros, but where a test looks."""
    d, f, b = WIDTH, FEEDFORWARD, len(BEHAVIOURS)
    shapes = {"encoder.id.embedding": [items, d], "encoder.id.gate": [GATE], "encoder.gate.weight": [d, GATE],
              "encoder.gate.out": [GATE], "encoder.gate.count": [1], "encoder.output.weight": [d, d],
              "sequence.behaviour": [b, d], "sequence.norm.weight": [d], "sequence.norm.bias": [d],
              "block.0.qkv.weight": [d, 3 * d], "block.0.out.weight": [d, d], "block.0.gate1.weight": [d, d],
              "block.0.gate1.bias": [d], "block.0.gate2.weight": [d, d], "block.0.gate2.bias": [d],
              "block.0.ffn.up.weight": [d, f], "block.0.ffn.gate.weight": [d, f], "block.0.ffn.down.weight": [f, d],
              "block.0.position": [1, POSITIONS], "block.0.time": [1, BUCKETS], "block.0.behaviour": [1, b]}
    for norm in ("norm1", "norm2"):
        shapes.update({"block.0.%s.weight" % norm: [d], "block.0.%s.bias" % norm: [d]})
    for name in ("text", "image"):
        shapes.update({"encoder.%s.weight" % name: [COMPONENTS, d], "encoder.%s.bias" % name: [d],
                       "encoder.%s.norm.weight" % name: [d], "encoder.%s.norm.bias" % name: [d],
                       "encoder.%s.gate" % name: [GATE]})
    tensors = {name: (shape, [0] * math.prod(shape)) for name, shape in shapes.items()}
    tensors["block.0.position"] = [1, POSITIONS], slope(POSITIONS, 5)
    tensors["head.sequence"] = [1], [.5]
    return tensors


def serialise(tensors, metadata):
    """safetensors: length of the header, header, data."""
    header, data = {"__metadata__": metadata}, b""
    for name, (shape, numbers) in sorted(tensors.items()):
        dtype, code = {"items.names": ("U8", "B"), "items.ends": ("I64", "q")}.get(name, ("F32", "f"))
        content = struct.pack("<%d%s" % (len(numbers), code), *numbers)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def model_file(blocks=0, names=(), training=None, **metadata):
    """A whole model; `names` are the items with an ID row, the k-th of which was met k times."""
    text = b"".join(name.encode() + b"\0" for name in names)
    ends = [sum(len(name.encode()) + 1 for name in names[:k + 1]) for k in range(len(names))]
    tensors = {**views(), **head(), "items.names": ([len(text)], list(text)), "items.ends": ([len(ends)], ends),
               "items.count": ([len(names)], list(range(1, len(names) + 1)))}
    if blocks:
        tensors.update(sequence(len(names)))
    metadata = {"format": "recsysd-1", "name": "by-hand", "architecture": json.dumps(architecture(blocks)), **metadata}
    if training is not None:
        metadata["training"] = json.dumps(training)
    return serialise(tensors, metadata)


class Inspect(TestCase):
    def write(self, content):
        path = os.path.join(self.directory(), "model.safetensors")
        with open(path, "wb") as out:
            out.write(content)
        return path

    def inspect(self, content, *arguments):
        done = run(TRAIN, "inspect", self.write(content), *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def report(self, content):
        return json.loads(self.inspect(content, "-o", "json"))

    def test_identity(self):
        content = model_file()
        report = self.report(content)
        sha256 = hashlib.sha256(content).hexdigest()
        self.assertEqual(report["sha256"], sha256)
        self.assertEqual(report["version"], "by-hand-" + sha256[:8])
        self.assertEqual(report["file_bytes"], len(content))
        self.assertEqual(report["architecture"], architecture())
        self.assertEqual(report["items"]["id_rows"], 0)
        self.assertIsNone(report["sequence"])
        self.assertIsNone(report["training"])

    def test_sizes(self):
        content = model_file(blocks=1, names=["a", "b", "ü"])
        report = self.report(content)
        declared = {**views(), **head(), **sequence(3)}
        told = {tensor["name"]: tensor for tensor in report["tensors"]}
        self.assertEqual(set(told), set(declared))
        for name, (shape, numbers) in declared.items():
            self.assertEqual((told[name]["shape"], told[name]["bytes"]), (shape, 4 * len(numbers)), name)
        self.assertEqual(report["sizes"]["bytes"], sum(4 * len(numbers) for _, numbers in declared.values()))
        groups = report["sizes"]["groups"]
        self.assertEqual(groups["statistics"]["tensors"], 4)
        self.assertEqual(sum(group["bytes"] for group in groups.values()), report["sizes"]["bytes"])
        self.assertEqual(report["items"], {"id_rows": 3, "training_events": 6})

    def test_streams(self):
        told = {(s["pick"], s["judge"]): s for s in self.report(model_file())["streams"]}
        self.assertAlmostEqual(told["text", "text"]["weight"], .9, places=5)
        self.assertAlmostEqual(told["text", "image"]["weight"], .31, places=5)
        self.assertAlmostEqual(told["text", "image"]["weight_per_log_count"], .02, places=5)
        self.assertAlmostEqual(told["image", "image"]["weight"], -.1, places=5)

    def test_half_lives(self):
        report = self.report(model_file(blocks=1, names=["a"]))
        text, image = report["similarities"]
        self.assertAlmostEqual(text["temperature"][0], .25, places=5)
        self.assertAlmostEqual(text["half_life_steps"], 3, places=3)
        self.assertAlmostEqual(image["half_life_steps"], 8, places=3)
        view, purchase, dislike = (text["behaviours"][name] for name in BEHAVIOURS)
        self.assertAlmostEqual(text["half_life_seconds"] / math.exp(.301 * 40.5), 1, places=3)
        self.assertEqual(view["half_life_seconds"], text["half_life_seconds"])
        self.assertAlmostEqual(purchase["weight"], 2 ** .25, places=4)
        self.assertAlmostEqual(purchase["half_life_seconds"] / math.exp(.301 * 50.5), 1, places=3)
        self.assertEqual(dislike["half_life_seconds"], 0)
        self.assertIsNone(image["half_life_seconds"])  # not within the table
        self.assertEqual(report["cooccurrence"]["half_life_steps"], 1)
        self.assertAlmostEqual(report["sequence"]["temperature"], 2, places=5)
        self.assertAlmostEqual(report["sequence"]["blocks"][0]["half_life_steps"][0], 5, places=3)
        self.assertEqual(report["behaviours"], {"view": 1, "purchase": 2, "dislike": -1})

    def test_training_is_passed_on(self):
        training = {"seed": 7, "data": {"sha256": "abc", "users": 12}, "options": {"epochs": 3}, "without": ["id"],
                    "metrics": {"validation": {"ndcg@10": .125}}}
        content = model_file(training=training)
        self.assertEqual(self.report(content)["training"], training)
        words = self.inspect(content)
        for line in (r"data\.sha256 +abc", r"data\.users +12", r"options\.epochs +3",
                     r"metrics\.validation\.ndcg@10 +0\.125", r'without +\["id"\]'):
            self.assertRegex(words, r"(?m)^ +%s$" % line)

    def test_words(self):
        content = model_file(blocks=1, names=["a", "b"])
        words = self.inspect(content)
        for part in (hashlib.sha256(content).hexdigest(), "text picks, image judges: 0.31 +0.020 for each log",
                     "text picks, text judges: 0.90\n", "half-life 3.0 steps", "purchase: weight 1.19",
                     "dislike: weight 0.01, never half", "co-occurrence: 1.25, backwards 0.40 of it, half-life 1.0 steps", "view +1.00",
                     "dislike -1.00", "2 with an ID row, of 3 training events"):
            self.assertIn(part, words)
        self.assertRegex(words, r"encoder\.id\.embedding +encoder +2 x 4 +32 B")
        self.assertRegex(words, r"statistics +4 ")

    def test_names_do_not_steer_the_terminal(self):
        training = {"data": "\x1b[2Jgone", "\x1b[31m": 1}
        words = self.inspect(model_file(name="a\x1b[31mb", training=training))
        self.assertEqual(re.findall(r"[\x00-\x09\x0b-\x1f\x7f]", words), [])
        self.assertIn("a?[31mb", words)

    def refuse(self, code, word, *arguments):
        done = run(TRAIN, "inspect", *arguments)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertIn(word, done.stderr)
        self.assertLessEqual(len(done.stderr.splitlines()), 2, done.stderr)

    def test_refusals(self):
        content = model_file()
        self.refuse(64, "missing")
        self.refuse(64, "unexpected argument two", "one", "two")
        self.refuse(64, "yaml", self.write(content), "-o", "yaml")
        self.refuse(64, "--frobnicate", self.write(content), "--frobnicate")
        self.refuse(66, "/no/such/file", "/no/such/file")
        self.refuse(65, "model.safetensors", self.write(content[:-1]))
        self.refuse(65, "model.safetensors", self.write(b""))
        self.refuse(65, "recsysd-1", self.write(model_file(format="other")))
        self.refuse(65, "", self.directory())

    def test_help(self):
        done = run(TRAIN, "inspect", "--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("inspect FILE", done.stdout)
        done = run(TRAIN, "--help")
        for command in ("fit", "evaluate", "inspect"):
            self.assertRegex(done.stdout, r"(?m)^  %s +\w" % command)


# ---- the log of a training

def crc32c(content):
    crc = 0xffffffff
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def masked(content):
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def events(path):
    """The messages of an event file, as bytes."""
    with open(path, "rb") as file:
        content = file.read()
    found = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        data = content[12:12 + length]
        sums = struct.unpack("<I", content[8:12]) + struct.unpack("<I", content[12 + length:16 + length])
        assert sums == (masked(content[:8]), masked(data)), path
        found.append(data)
        content = content[16 + length:]
    return found


class Fitted(SharedDaemon):
    ITEMS, USERS, EPOCHS = 300, 80, 2

    @classmethod
    def fill(cls, client):
        shop.put_items(client, cls.ITEMS)
        shop.put_features(client, cls.ITEMS)
        for user in range(cls.USERS):
            shop.put_events(client, "u%d" % user, [(user * 7 + k * 2) % cls.ITEMS for k in range(8)])

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path = os.path.join(cls.server.directory, "fitted.safetensors")
        cls.fitted = run(TRAIN, "fit", "-q", "--data-dir", cls.server.data_dir, "--out", cls.path, "--threads", "1",
                         "--set", "epochs=%d" % cls.EPOCHS, "--set", "width=16", timeout=120)

    def setUp(self):
        self.assertEqual(self.fitted.returncode, 0, self.fitted.stderr)

    def test_quiet(self):
        self.assertEqual(self.fitted.stderr, "")

    def test_records(self):
        with open(self.path + ".ndjson", encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        self.assertEqual((records[0]["event"], records[-1]["event"]), ("begin", "end"))
        epochs = [record for record in records if "event" not in record]
        self.assertEqual([e["step"] for e in epochs], list(range(1, len(epochs) + 1)))
        first = [e for e in epochs if e["stage"] == 1]
        self.assertEqual([e["epoch"] for e in first], list(range(1, self.EPOCHS + 1)))
        for epoch in first:
            for key in ("loss", "validation_ndcg@10", "validation_hr@10", "learning_rate", "gradient_norm", "seconds",
                        "events_per_second", "best_epoch", "eta_seconds"):
                self.assertIn(key, epoch)
            self.assertGreater(epoch["loss"], 0)
        self.assertEqual(first[-1]["eta_seconds"], 0)
        second = [e for e in epochs if e["stage"] == 2]
        self.assertGreater(len(second), 0)
        self.assertIn("validation_loss", second[-1])

    def test_curves(self):
        (name,) = os.listdir(self.path + ".tb")
        self.assertRegex(name, r"^events\.out\.tfevents\.\d{10}\..")
        found = events(os.path.join(self.path + ".tb", name))
        self.assertTrue(found[0].endswith(b"\x1a\x0dbrain.Event:2"))
        for tag in (b"stage1/loss", b"stage1/validation_ndcg@10"):
            self.assertEqual(sum(tag in event for event in found), self.EPOCHS, tag)
        self.assertGreater(sum(b"stage2/validation_loss" in event for event in found), 0)

    def test_inspected(self):
        done = run(TRAIN, "inspect", self.path, "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["architecture"]["width"], 16)
        self.assertGreater(report["architecture"]["blocks"], 0)
        self.assertGreater(report["items"]["id_rows"], 0)
        self.assertEqual(report["training"]["seed"], 1)
        with open(self.path, "rb") as file:
            self.assertEqual(report["sha256"], hashlib.sha256(file.read()).hexdigest())
        self.assertEqual(run(TRAIN, "inspect", self.path).returncode, 0)
