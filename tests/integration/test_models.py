# SPDX-License-Identifier: Apache-2.0
"""Models over the wire and by recsysctl: put, get, list, activate, rollback, delete; files that must be refused; swapping
under load; what is left after a crash."""
import base64
import hashlib
import json
import math
import os
import random
import sqlite3
import struct
import sys
import threading
import time
import unittest

import shop
from shop import names
from daemon import (BUILD, FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, RpcError, SharedDaemon,
                    TestCase, run, until)
from model_file import Model

DATA_LOSS = 15
ITEMS, USERS = 300, 6
NOW = str(int(time.time() * 1000))
CHUNK = 16384  # the smallest that is allowed
TRAIN = os.path.join(BUILD, "recsys-train")
SWAPS, CLIENTS = 100, 4


def fill(client, items=ITEMS):
    shop.put_items(client, items)
    shop.put_features(client, items)
    shop.put_features(client, items, "image", shop.IMAGE)
    for user in range(USERS):
        shop.put_events(client, "u%d" % user, [(7 * user + 2 * k) % items for k in range(8)], ts=1700000000000)
    shop.wait_for_model(client)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def put_chunk(client, data, name, offset, size, digest=None, **more):
    """One chunk, in the encoding of the client."""
    part = data[offset:offset + size]
    params = {"name": name, "sha256": digest or sha256(data), "total": len(data), "offset": offset, **more}
    if type(client).__name__ == "ProtobufClient":
        return client.call("model.put", attachments=[part] if part else (), **params)
    return client.call("model.put", data=base64.b64encode(part).decode(), **params)


def put(client, data, name, size=1 << 20, digest=None, **more):
    """The whole file; the last reply."""
    for offset in range(0, len(data), size):
        reply = put_chunk(client, data, name, offset, size, digest, **more)
    return reply


def get(client, name=""):
    data = b""
    while True:
        reply = client.call("model.get", name=name, offset=len(data), n=5000)
        part = reply["data"] if isinstance(reply["data"], bytes) else base64.b64decode(reply["data"])
        if not part:
            assert len(data) == int(reply["total"]) and sha256(data) == reply["sha256"]
            return data
        data += part


def variant(data, factor, items=0):
    """A model like that one, whose streams weigh so many times as much; `items` foreign items make it larger."""
    model = Model(data).scale("head.stream", factor)
    if items:
        model.set_items(["elsewhere-%06d" % i for i in range(items)])
    return model.file()


def report(ndcg, **more):
    return json.dumps({"model": {"ndcg@10": ndcg, "hr@10": 0.5}, "holdout": "time", "queries": 100, **more})


def scores(reply):
    return {item["item"]: item["score"] for item in reply["items"]}


def states(client):
    return {model["version"]: model["state"] for model in client.call("model.list")["models"]}


class Registry(SharedDaemon):
    """Each test leaves the default model active."""

    @classmethod
    def fill(cls, client):
        fill(client)
        cls.default = client.call("status")["model"]
        cls.file = get(client)

    def tearDown(self):
        self.client.call("model.activate", name=self.default)
        self.assertEqual(self.active(), self.default)

    def active(self):
        return self.client.call("status")["model"]

    def stored(self, factor, name, client=None, **more):
        return put(client or self.client, variant(self.file, factor), name, **more)["version"]

    # ---- put, get, list

    def check_put_and_get(self, client, factor):
        data, name = variant(self.file, factor, items=4000), "chunks%d" % factor
        self.assertGreater(len(data), 3 * CHUNK)
        reply = put_chunk(client, data, name, 0, 0)
        self.assertEqual((int(reply["received"]), reply["complete"]), (0, False))
        sent = 0
        while not reply["complete"]:
            reply = put_chunk(client, data, name, sent, CHUNK)
            sent = min(sent + CHUNK, len(data))
            self.assertEqual(int(reply["received"]), sent)
            self.assertEqual(reply["complete"], sent == len(data))
        self.assertEqual(reply["version"], "%s-%s" % (name, sha256(data)[:8]))
        self.assertEqual(get(client, reply["version"]), data)
        self.assertEqual(get(client, name), data)
        self.assertEqual(states(self.client)[reply["version"]], "stored")

    def test_json(self):
        self.check_put_and_get(self.client, 2)

    def test_protobuf(self):
        self.check_put_and_get(self.pb, 3)

    def test_chunks_may_come_twice(self):
        data = variant(self.file, 1.5, items=4000)
        for offset in (0, 0, CHUNK, 0, CHUNK, CHUNK):
            reply = put_chunk(self.client, data, "twice", offset, CHUNK)
        self.assertEqual(int(reply["received"]), 2 * CHUNK)
        for offset in (CHUNK + CHUNK // 2, 3 * CHUNK):  # neither a repetition nor the continuation
            error = self.refused(FAILED_PRECONDITION, put_chunk, self.client, data, "twice", offset, CHUNK)
            self.assertEqual((error.reason, error.field), ("BAD_OFFSET", "offset"))
            self.assertIn(str(2 * CHUNK), error.message)
        reply = put_chunk(self.client, data, "twice", 2 * CHUNK, len(data))
        self.assertTrue(reply["complete"])
        self.assertTrue(put(self.client, data, "twice", CHUNK)["complete"])
        again = put_chunk(self.client, data, "another.name", 0, 0)  # a file is known by what it is
        self.assertEqual((again["complete"], again["version"]), (True, reply["version"]))

    def test_bad_requests(self):
        data = variant(self.file, 1.7, items=4000)
        bad = self.refused
        for name in ("", "a/b", "../x", ".hidden", "-x", "grün", "x" * 65):
            self.assertEqual(bad(INVALID_ARGUMENT, put_chunk, self.client, data, name, 0, CHUNK).field, "name")
        self.assertEqual(bad(INVALID_ARGUMENT, put_chunk, self.client, data, "default", 0, CHUNK).field, "name")
        for digest in ("", "00", "g" * 64):
            self.assertEqual(bad(INVALID_ARGUMENT, self.client.call, "model.put", name="x", sha256=digest,
                                 total=100).field, "sha256")
        for total in (0, -1):
            self.assertEqual(bad(INVALID_ARGUMENT, self.client.call, "model.put", name="x", sha256="0" * 64,
                                 total=total).field, "total")
        error = bad(RESOURCE_EXHAUSTED, self.client.call, "model.put", name="x", sha256="0" * 64, total=1 << 40)
        self.assertIn(str(1 << 30), error.message)
        error = bad(INVALID_ARGUMENT, put_chunk, self.client, data, "x", 0, CHUNK - 1)  # a flood of tiny parts
        self.assertEqual(error.field, "data")
        error = bad(INVALID_ARGUMENT, self.client.call, "model.put", name="x", sha256="0" * 64, total=5, offset=6)
        self.assertEqual(error.field, "offset")
        self.assertEqual(bad(NOT_FOUND, self.client.call, "model.get", name="none").reason, "UNKNOWN_MODEL")
        self.assertEqual(bad(NOT_FOUND, self.client.call, "model.activate", name="none").reason, "UNKNOWN_MODEL")
        self.assertEqual(self.active(), self.default)

    def test_list(self):
        model = Model(variant(self.file, 1.1))
        model.set_training({"holdout": "time", "data": {"sha256": "feed" * 16, "users": 6},
                            "metrics": {"validation": {"ndcg@10": 0.25}}})
        data = model.file()
        version = put(self.client, data, "listed", report=report(0.125))["version"]
        by_json = {m["version"]: m for m in self.client.call("model.list")["models"]}[version]
        by_protobuf = {m["version"]: m for m in self.pb.call("model.list")["models"]}[version]
        self.assertEqual((by_json["name"], by_json["state"], by_json["sha256"], by_json["size_bytes"]),
                         ("listed", "stored", sha256(data), str(len(data))))
        self.assertEqual((by_json["training_data"], by_json["holdout"]), ("feed" * 16, "time"))
        self.assertEqual((by_json["metrics"]["ndcg@10"], by_json["validation"]), (0.125, {"ndcg@10": 0.25}))
        self.assertEqual({m["key"]: m["value"] for m in by_protobuf["metrics"]}, by_json["metrics"])
        self.assertEqual(by_protobuf["size_bytes"], len(data))
        self.client.call("model.activate", name=version)
        self.assertEqual(states(self.client)[version], "active")
        self.assertEqual(states(self.client)[self.default], "previous")

    # ---- activate, rollback, delete

    def test_activate_changes_scores_in_one_step(self):
        before = self.client.call("recommend", user="u1", now=NOW)
        version = self.stored(5, "five")
        self.assertEqual(scores(self.client.call("recommend", user="u1", now=NOW)), scores(before))
        reply = self.client.call("model.activate", name="five")
        self.assertEqual((reply["model"], reply["before"], reply["activated"]), (version, self.default, True))
        after = self.client.call("recommend", user="u1", now=NOW)
        self.assertEqual((before["model"], after["model"]), (self.default, version))
        self.assertNotEqual(scores(after), scores(before))
        self.assertFalse(self.client.call("model.activate", name=version)["activated"])

    def test_loaded_beside_the_active_one(self):
        first, second = self.stored(3, "twice"), self.stored(4, "twice")
        self.client.call("model.activate", name=first)
        self.assertEqual(self.client.call("model.load", name="twice")["model"], second)  # the newest of that name
        self.assertEqual(states(self.client)[second], "loaded")
        ask = lambda **more: self.client.call("recommend", user="u", n=5, **more)
        self.assertEqual((ask()["model"], ask(model="twice")["model"], ask(model=first)["model"]), (first, second, first))
        self.client.call("item.put", items=[{"item": "late", "title": "put while two models follow"}])
        for model in (first, second):
            rank = self.client.call("rank", user="u", items=["late"], model=model)
            self.assertEqual((names(rank), rank["model"]), (["late"], model))
        self.client.call("model.unload", name="twice")
        self.assertEqual(states(self.client)[second], "stored")
        with self.assertRaises(RpcError) as caught:
            ask(model=second)
        self.assertEqual(caught.exception.reason, "VERSION_GONE")
        with self.assertRaises(RpcError) as caught:
            self.client.call("model.unload", name="twice")
        self.assertEqual(caught.exception.reason, "NOT_LOADED")
        self.client.call("model.load", name=second)
        self.client.call("model.activate", name=second)  # it need not be there twice
        self.assertEqual(states(self.client)[second], "active")
        with self.assertRaises(RpcError):
            self.client.call("model.unload", name=second)

    def test_nine_are_too_many(self):
        loaded = [self.stored(20 + k, "many%d" % k) for k in range(9)]
        for version in loaded[:8]:
            self.client.call("model.load", name=version)
        with self.assertRaises(RpcError) as caught:
            self.client.call("model.load", name=loaded[8])
        self.assertEqual(caught.exception.reason, "TOO_MANY_LOADED")
        for version in loaded[:8]:
            self.client.call("model.unload", name=version)

    def test_activate_by_protobuf(self):
        version = self.stored(5.5, "by-protobuf", self.pb)
        self.assertEqual(self.pb.call("model.activate", name=version)["model"], version)
        self.assertEqual(self.pb.call("model.rollback")["model"], self.default)

    def test_rollback_twice(self):
        first, second = self.stored(6, "first"), self.stored(7, "second")
        self.client.call("model.activate", name=first)
        self.client.call("model.activate", name=second)
        for expected in (first, self.default):
            reply = self.client.call("model.rollback")
            self.assertEqual((reply["model"], reply["activated"]), (expected, True))
            self.assertEqual(self.active(), expected)

    def test_delete(self):
        version = self.stored(8, "doomed")
        self.client.call("model.activate", name=version)
        error = self.refused(FAILED_PRECONDITION, self.client.call, "model.delete", name=version)
        self.assertEqual(error.reason, "MODEL_ACTIVE")
        self.assertEqual(self.active(), version)
        self.client.call("model.activate", name=self.default)
        self.assertEqual(self.client.call("model.delete", name="doomed")["version"], version)
        self.assertNotIn(version, states(self.client))
        for method in ("model.get", "model.activate", "model.delete"):
            self.refused(NOT_FOUND, self.client.call, method, name=version)
        self.assertEqual(self.stored(8, "doomed"), version)  # and it can come back
        self.client.call("model.delete", name=version)

    # ---- if_better

    def test_if_better(self):
        worse = self.stored(9, "worse", report=report(0.10))
        equal = self.stored(10, "equal", report=report(0.20))
        better = self.stored(11, "better", report=report(0.30))
        error = self.refused(FAILED_PRECONDITION, self.client.call, "model.activate", name=worse, if_better=True)
        self.assertEqual(error.reason, "NO_REPORT")  # of the active one
        self.assertIn(self.default, error.message)
        put_chunk(self.client, self.file, "any", 0, 0, report=report(0.20))  # a report for what is there already
        reply = self.client.call("model.activate", name=worse, if_better=True)
        self.assertEqual((reply["activated"], reply["model"]), (False, self.default))
        self.assertIn("0.10000", reply["kept"])
        for version in (equal, better):
            self.assertTrue(self.client.call("model.activate", name=version, if_better=True)["activated"])
            self.assertEqual(self.active(), version)
        put_chunk(self.client, variant(self.file, 10), "any", 0, 0, report=report(0.9, queries=101))
        error = self.refused(FAILED_PRECONDITION, self.client.call, "model.activate", name=equal, if_better=True)
        self.assertEqual(error.reason, "NOT_COMPARABLE")
        self.assertIn("queries", error.message)
        self.assertEqual(self.active(), better)

    def test_reports_are_checked(self):
        data = variant(self.file, 12)
        for text in ("{", "[]", "{}", report(2), report(0.1, sha256="00"), json.dumps({"model": "x" * 70000})):
            error = self.refused(INVALID_ARGUMENT, put_chunk, self.client, data, "reported", 0, 0, report=text)
            self.assertEqual(error.field, "report")

    # ---- files that must be refused

    def check_refused(self, data, *words, digest=None, code=INVALID_ARGUMENT):
        """A sentence, nothing stored, and the active model answers as before."""
        before = scores(self.client.call("recommend", user="u2", now=NOW))
        error = self.refused(code, put, self.client, data, "hostile", digest=digest)
        self.assertGreater(len(error.message), 10)
        for word in words:
            self.assertIn(word, error.message)
        self.assertNotIn("hostile", [m["name"] for m in self.client.call("model.list")["models"]])
        self.assertEqual(self.active(), self.default)
        self.assertEqual(scores(self.client.call("recommend", user="u2", now=NOW)), before)
        return error

    def test_a_flipped_bit_anywhere(self):
        data = variant(self.file, 13)
        chosen = random.Random(1)
        positions = set(range(0, 16)) | {len(data) - 1} | {chosen.randrange(len(data)) for _ in range(60)}
        for position in sorted(positions):
            flipped = bytearray(data)
            flipped[position] ^= 1 << chosen.randrange(8)
            error = self.check_refused(bytes(flipped), "SHA-256", digest=sha256(data), code=DATA_LOSS)
            self.assertEqual(error.reason, "MODEL_DAMAGED")
        self.assertTrue(put(self.client, data, "sound")["complete"])  # what was refused is not in the way

    def test_truncated(self):
        data = variant(self.file, 14)
        for size in (1, 7, 8, 9, 100, len(data) // 2, len(data) - 1):
            self.check_refused(data[:size])

    def test_nan_and_infinity(self):
        for value in (math.nan, math.inf, -math.inf):
            model = Model(self.file)
            values = model.get("head.stream")
            self.check_refused(model.set("head.stream", [value] + values[1:]).file(), "head.stream", "finite")

    def test_headers(self):
        for size in (2 ** 63, 2 ** 64 - 1, 2 ** 62, 1 << 40, 0):
            self.check_refused(struct.pack("<Q", size) + self.file[8:])
        self.assertIn("9223372036854775808", self.check_refused(struct.pack("<Q", 2 ** 63) + self.file[8:]).message)
        for text in (b"", b"{}", b"[]", b"{" * 5000, b'{"a":' * 5000, b'{"__metadata__":{}}'):
            self.check_refused(struct.pack("<Q", len(text)) + text + b"\0" * 64)

    def test_a_tensor_that_is_missing_or_of_another_shape(self):
        model = Model(self.file)
        del model.tensors["head.value"]
        self.check_refused(model.file(), "head.value")
        model = Model(self.file)
        self.check_refused(model.set("head.value", [1.0], [1]).file(), "head.value")

    def test_scores_that_are_no_numbers(self):
        """Every weight is finite, what they give is not: seen when it is tried out, before it answers."""
        model = Model(self.file)
        model.set("head.stream", [3e38] * len(model.get("head.stream")))
        model.set("head.value", [1e30] * len(model.get("head.value")))
        version = put(self.client, model.file(), "huge")["version"]
        error = self.refused(INVALID_ARGUMENT, self.client.call, "model.activate", name=version)
        self.assertEqual(error.reason, "BAD_SCORES")
        self.assertEqual(self.active(), self.default)

    # ---- models that do not fit the shop, and that do

    def check_misfit(self, model, *words):
        version = put(self.client, model.file(), "misfit")["version"]
        error = self.refused(FAILED_PRECONDITION, self.client.call, "model.activate", name=version)
        self.assertEqual(error.reason, "MODEL_MISMATCH")
        for word in words:
            self.assertIn(word, error.message)
        self.assertEqual(self.active(), self.default)
        self.client.call("model.delete", name=version)

    def test_wrong_dimension(self):
        self.check_misfit(Model(self.file).set_dimension("image", shop.IMAGE + 3),
                          "the model reads 'image' of encoder 'default' with %d numbers, the shop has %d" %
                          (shop.IMAGE + 3, shop.IMAGE))

    def test_wrong_encoder(self):
        self.check_misfit(Model(self.file).set_encoder("text", "other@2"), "'text'", "'other@2'", "'default'")

    def test_wrong_modality(self):
        model = Model(self.file)
        architecture = model.architecture()
        architecture["views"][0]["modality"] = "sound"
        self.check_misfit(model.set_architecture(architecture), "'sound'", "no vectors")

    def test_trained_on_other_items(self):
        """Items are matched by id; those that the model has never seen have vectors and counts."""
        version = put(self.client, variant(self.file, 2.5, items=50), "foreign")["version"]
        self.client.call("model.activate", name=version)
        known = self.client.call("recommend", user="u3", now=NOW)
        self.assertEqual(known["model"], version)
        self.assertTrue(known["items"])
        self.client.call("item.put", items=[{"item": "brand-new", "title": "New"}])
        self.client.call("feature.put", modality="text", rows=[{"item": "brand-new",
                                                                "values": shop.vector("new", 0, shop.TEXT)}])
        ranked = self.client.call("rank", user="u3", items=["brand-new", shop.item_name(1)], now=NOW)
        self.assertEqual(set(shop.names(ranked)), {"brand-new", shop.item_name(1)})
        self.client.call("item.delete", items=["brand-new"])


class Limits(TestCase):
    def start(self, **settings):
        server = self.daemon(settings={"model." + key: value for key, value in settings.items()}).start()
        fill(server.json())
        return server, server.json()

    def test_memory(self):
        server, client = self.start()
        active = client.call("status")["model"]
        version = put(client, variant(get(client), 2), "large")["version"]
        server.stop()
        server.command += ["--set", "model.memory_bytes=1000"]
        server.start()
        client = server.json()
        error = self.refused(RESOURCE_EXHAUSTED, client.call, "model.activate", name=version)
        self.assertEqual(error.reason, "MODEL_TOO_LARGE")
        self.assertRegex(error.message, r"needs \d+ bytes .* 1000 are there")
        self.assertEqual(client.call("status")["model"], active)
        self.assertEqual(client.call("recommend", user="u1")["model"], active)
        server.stop()

    def test_size_and_number(self):
        server, client = self.start(stored=2, max_bytes=1 << 20)
        data = get(client)
        for i in range(2):
            put(client, variant(data, 2 + i), "m%d" % i)
        error = self.refused(RESOURCE_EXHAUSTED, put, client, variant(data, 9), "m9")
        self.assertEqual(error.reason, "TOO_MANY")
        client.call("model.delete", name="m0")
        put(client, variant(data, 9), "m9")
        error = self.refused(RESOURCE_EXHAUSTED, put, client, variant(data, 5, items=100000), "big")
        self.assertEqual((error.reason, error.field), ("TOO_LARGE", "total"))
        server.stop()

    def test_uploads_at_once_and_stale_ones(self):
        server, client = self.start(upload_ms=4000)
        files = [variant(get(client), 2 + i, items=4000) for i in range(5)]
        for i in range(4):
            put_chunk(client, files[i], "u%d" % i, 0, CHUNK)
        error = self.refused(RESOURCE_EXHAUSTED, put_chunk, client, files[4], "u4", 0, CHUNK)
        self.assertEqual(error.reason, "UPLOADS_FULL")
        self.assertGreater(error.retry_after_ms, 0)

        def received():
            return int(put_chunk(client, files[0], "u0", 0, 0)["received"])
        self.assertEqual(received(), CHUNK)
        until(lambda: received() == 0, "a stale upload is given up")
        put_chunk(client, files[4], "u4", 0, CHUNK)
        server.stop()


class Restart(TestCase):
    def start(self):
        server = self.daemon().start()
        client = server.json()
        fill(client)
        self.default, self.file = client.call("status")["model"], get(client)
        return server, client

    def query(self, server, sql):
        database = sqlite3.connect("file:%s?mode=ro" % os.path.join(server.data_dir, "shop.db"), uri=True)
        try:
            return database.execute(sql).fetchall()
        finally:
            database.close()

    def test_the_active_model_stays(self):
        server, client = self.start()
        version = put(client, variant(self.file, 3), "mine")["version"]
        client.call("model.activate", name=version)
        before = scores(client.call("recommend", user="u1", now=NOW))
        server.stop()
        server.start()
        client = server.json()
        after = client.call("recommend", user="u1", now=NOW)
        self.assertEqual(after["model"], version)
        self.assertEqual(set(scores(after)), set(before))
        for item, score in scores(after).items():
            self.assertAlmostEqual(score, before[item], 4)
        server.kill()
        server.start()
        client = server.json()
        self.assertEqual(client.call("status")["model"], version)
        self.assertEqual(client.call("model.rollback")["model"], self.default)
        server.stop()
        done = run(os.path.join(BUILD, "recsysd"), "--data-dir", server.data_dir, "--check-db")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_default_model_does_not_replace_it_and_is_fitted_again_after_a_rollback(self):
        server, client = self.start()
        version = put(client, variant(self.file, 3), "mine")["version"]
        client.call("model.activate", name=version)
        shop.put_items(client, 450)
        shop.put_features(client, 450)  # 384 and more: a default model would be due
        client.call("model.activate", name=version)  # after the background has seen the items, as it works in order
        server.stop()
        server.start()
        client = server.json()
        self.assertEqual(client.call("status")["model"], version)
        self.assertEqual(client.call("model.rollback")["model"], self.default)
        until(lambda: client.call("status")["model"] not in (self.default, version), "the default is fitted again")
        self.assertTrue(client.call("status")["model"].startswith("default-"))
        error = self.refused(FAILED_PRECONDITION, client.call, "model.rollback")  # not to the default before
        self.assertEqual(error.reason, "NO_PREVIOUS")
        server.stop()

    def test_an_active_model_that_is_damaged_comes_back_when_it_is_whole(self):
        server, client = self.start()
        version = put(client, variant(self.file, 3), "mine")["version"]
        client.call("model.activate", name=version)
        server.stop()
        path = os.path.join(server.data_dir, "shop.db")
        where = "WHERE model_id = (SELECT model_id FROM model WHERE version = '%s')" % version
        whole = self.query(server, "SELECT bytes FROM model_part " + where)[0][0]
        flipped = bytearray(whole)
        flipped[len(flipped) // 2] ^= 4
        for data, expected in ((bytes(flipped), "default-"), (whole, version)):
            database = sqlite3.connect(path)
            database.execute("UPDATE model_part SET bytes = ? " + where, (data,))
            database.commit()
            database.close()
            server.start()
            client = server.json()
            self.assertTrue(client.call("status")["model"].startswith(expected), server.log_text())
            self.assertTrue(client.call("recommend", user="u1")["items"])
            self.assertEqual(any(line["event"] == "model_not_loaded" for line in server.log), data != whole)
            server.stop()

    def test_kill_in_the_middle_of_a_put(self):
        server, client = self.start()
        data = variant(self.file, 3, items=4000)
        for chunks in (1, 2):
            for k in range(chunks):
                put_chunk(client, data, "cut", k * CHUNK, CHUNK)
            server.kill()
            server.start()
            client = server.json()
            self.assertEqual(self.query(server, "SELECT count(*) FROM model WHERE state <> 'stored'"), [(0,)])
            self.assertEqual(self.query(server, "SELECT count(*) FROM model_part AS p LEFT JOIN model AS m "
                                                "USING (model_id) WHERE m.model_id IS NULL"), [(0,)])
            self.assertTrue(all(version.startswith("default-") for version in states(client)))
            self.assertEqual(int(put_chunk(client, data, "cut", 0, 0)["received"]), 0)
        self.assertTrue(put(client, data, "cut", CHUNK)["complete"])
        self.assertEqual(client.call("status")["model"], self.default)
        server.stop()


class Swapping(TestCase):
    """Models swapped under load: no request fails, none is slow for it, and the version in each answer scored it."""

    def ask(self, server, client, stop, log):
        number = 0
        while not stop.is_set():
            user = "u%d" % (number % USERS)
            number += 1
            begin = time.perf_counter()
            try:
                reply = client.call("recommend", user=user, n=20, now=NOW)
            except Exception as error:  # whatever it is, the request has failed
                log.append((user, None, error, 0))
                return
            log.append((user, reply["model"], scores(reply), time.perf_counter() - begin))

    def swap(self, client, versions):
        for i in range(SWAPS):
            wanted = versions[i % 2]
            if i % 10 == 9:  # now and then the other way to the same end
                reply = client.call("model.rollback")
            else:
                reply = client.call("model.activate", name=wanted)
            self.assertTrue(reply["activated"])
            self.assertEqual(client.call("recommend", user="u0", now=NOW)["model"], reply["model"])
            if reply["model"] != wanted:
                client.call("model.activate", name=wanted)

    def expected_lists(self, client, versions):
        """What each model says, asked while nothing else goes on."""
        expected = {}
        for version in versions:
            client.call("model.activate", name=version)
            for user in range(USERS):
                reply = client.call("recommend", user="u%d" % user, n=20, now=NOW)
                self.assertEqual(reply["model"], version)
                expected[version, "u%d" % user] = scores(reply)
        for user in range(USERS):
            first, second = (expected[version, "u%d" % user] for version in versions)
            self.assertGreater(max(abs(first[i] - second.get(i, 0)) for i in first), 0.1, "the models are too alike")
        return expected

    def check_answers(self, log, expected):
        mixed = 0
        for user, version, answer, _ in log:
            self.assertIsNotNone(version, "failed: %s" % (answer,))
            known = expected[version, user]
            mixed += set(answer) != set(known) or any(abs(answer[i] - known[i]) > 1e-4 for i in known)
        self.assertEqual(mixed, 0, "of %d answers" % len(log))

    def tell_times(self, quiet, loaded):
        """Recorded, not asserted: the machine may be busy with something else."""
        p99 = sorted(quiet)[int(0.99 * len(quiet))]
        slow = sum(t > 3 * p99 for t in loaded)
        print("swapping: %d requests, p99 %.2f ms without swaps, %d of them above 3x that (longest %.2f ms)" %
              (len(loaded), 1e3 * p99, slow, 1e3 * max(loaded)), file=sys.stderr)

    def test_a_hundred_swaps_under_load(self):
        server = self.daemon(http=True).start()
        client = server.json()
        fill(client)
        data = get(client)
        versions = [put(client, variant(data, factor), "swap")["version"] for factor in (1.3, 4)]
        expected = self.expected_lists(client, versions)
        logs, stop = [[] for _ in range(CLIENTS)], threading.Event()
        threads = [threading.Thread(target=self.ask, args=(server, server.json(), stop, log)) for log in logs]
        for thread in threads:
            thread.start()
        try:
            until(lambda: sum(map(len, logs)) > 1000, "requests without swaps")
            marks = [len(log) for log in logs]
            self.swap(client, versions)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        for log in logs:
            self.check_answers(log, expected)
        seen = {version for log, mark in zip(logs, marks) for _, version, _, _ in log[mark:]}
        self.assertEqual(seen, set(versions))
        self.tell_times([t for log, mark in zip(logs, marks) for *_, t in log[:mark]],
                        [t for log, mark in zip(logs, marks) for *_, t in log[mark:]])
        self.assertGreaterEqual(server.metric("recsysd_models_activated_total"), SWAPS)
        server.stop()

    def test_items_that_change_while_models_are_swapped(self):
        """What was acknowledged before an activation is known after it, whichever snapshot it went into."""
        server = self.daemon().start()
        client, writer = server.json(), server.json()
        fill(client)
        data = get(client)
        versions = [put(client, variant(data, factor), "swap")["version"] for factor in (1.3, 4)]
        stop, acknowledged, errors = threading.Event(), [], []

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                name = "late-%05d" % number
                try:
                    writer.call("item.put", items=[{"item": name, "title": name}])
                    writer.call("feature.put", modality="text",
                                rows=[{"item": name, "values": shop.vector(name, number % 2, shop.TEXT)}])
                except RpcError as error:
                    errors.append(error)
                    return
                acknowledged.append(name)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for i in range(20):
                known = list(acknowledged[-50:])
                client.call("model.activate", name=versions[i % 2])
                if known:
                    ranked = client.call("rank", user="u0", items=known, now=NOW)
                    self.assertEqual(set(shop.names(ranked)), set(known))
        finally:
            stop.set()
            thread.join()
        self.assertEqual(errors, [])
        self.assertTrue(acknowledged)
        server.stop()


class CommandLine(SharedDaemon):
    @classmethod
    def fill(cls, client):
        fill(client)
        cls.default = client.call("status")["model"]
        cls.file = get(client)

    def write(self, name, data):
        path = os.path.join(self.directory(), name)
        with open(path, "wb") as out:
            out.write(data if isinstance(data, bytes) else data.encode())
        return path

    def test_a_round(self):
        data = variant(self.file, 3, items=60000)  # more than one chunk of a MiB
        path, better = self.write("shop-a.safetensors", data), self.write("report.json", report(0.2))
        done = self.server.ctl("model", "put", path, "--report", better)
        self.assertEqual(done.returncode, 0, done.stderr)
        version = "shop-a-" + sha256(data)[:8]
        self.assertIn(version, done.stdout)
        self.assertEqual(self.server.ctl_json("model", "put", path)["complete"], True)
        listed = self.server.ctl("model", "list")
        self.assertIn(version, listed.stdout)
        self.assertIn("0.2000", listed.stdout)
        lines = self.server.ctl("-o", "ndjson", "model", "list").stdout.splitlines()
        self.assertIn(version, [json.loads(line)["version"] for line in lines])
        copy = os.path.join(self.directory(), "copy")
        self.assertEqual(self.server.ctl("model", "get", "shop-a", copy).returncode, 0)
        with open(copy, "rb") as file:
            self.assertEqual(file.read(), data)
        self.assertEqual(os.listdir(os.path.dirname(copy)), ["copy"])
        done = self.server.ctl("model", "activate", "shop-a", "--if-better")
        self.assertEqual(done.returncode, 65, done.stderr)
        self.assertIn("report", done.stderr)
        self.assertEqual(self.server.ctl("model", "get", copy).returncode, 0)  # the active one: the default
        self.assertEqual(self.server.ctl("model", "put", copy, "--report", self.write("r", report(0.3))).returncode, 0)
        done = self.server.ctl("model", "activate", "shop-a", "--if-better")
        self.assertEqual((done.returncode, self.client.call("status")["model"]), (0, self.default), done.stderr)
        self.assertIn("goes on answering", done.stdout)
        self.assertTrue(self.server.ctl_json("model", "activate", version)["activated"])
        self.assertEqual(self.server.ctl("model", "delete", "shop-a").returncode, 65)
        self.assertEqual(self.server.ctl_json("model", "rollback")["model"], self.default)
        self.assertEqual(self.server.ctl("model", "delete", "shop-a").returncode, 0)

    def test_mistakes(self):
        path = self.write("x.safetensors", self.file[:-1])
        for code, *arguments in ((64, "model"), (64, "model", "put"), (64, "model", "puts"),
                                 (66, "model", "put", "/no/such/file"), (65, "model", "put", path),
                                 (66, "model", "activate", "none"), (66, "model", "get", "none", path + ".copy"),
                                 (65, "model", "put", path, "--name", "a/b"),
                                 (66, "model", "put", path, "--report", "/no/such/report"),
                                 (65, "model", "put", path, "--report", path),
                                 (74, "model", "get", "/no/such/directory/file"), (65, "model", "rollback")):
            done = self.server.ctl(*arguments)
            self.assertEqual(done.returncode, code, (arguments, done.stderr))
            self.assertTrue(done.stderr, arguments)
        self.assertFalse(os.path.exists(path + ".copy.part"))

    def test_help_and_completion(self):
        self.assertIn("--if-better", self.server.ctl("model", "activate", "--help").stdout)
        script = self.server.ctl("completion", "bash").stdout
        for word in ("model", "rollback", "--report"):
            self.assertIn(word, script)


class Trained(TestCase):
    """A model of recsys-train, where this build can train."""

    def test_trained_in_one_shop_and_served_in_another(self):
        if " fit " not in run(TRAIN, "--help").stdout:
            self.skipTest("recsys-train has no fit")
        source = self.daemon().start()
        client = source.json()
        fill(client)
        for user in range(60):
            shop.put_events(client, "t%d" % user, [(user % 2) + 2 * ((user + k) % 40) for k in range(8)],
                            ts=1700000000000 + 1000 * user)
        source.stop()
        path = os.path.join(source.directory, "trained.safetensors")
        done = run(TRAIN, "fit", "--data-dir", source.data_dir, "--out", path, "--holdout", "none", "--seed", "1",
                   "--threads", "1", "-q", timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        server = self.daemon().start()
        client = server.json()
        fill(client)
        client.call("item.put", items=[{"item": "other-%d" % i, "title": "Other"} for i in range(5)])
        client.call("feature.put", modality="text", rows=[
            {"item": "other-%d" % i, "values": shop.vector("o%d" % i, 0, shop.TEXT)} for i in range(5)])
        done = server.ctl("model", "put", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(server.ctl_json("model", "activate", "trained")["activated"])
        reply = client.call("recommend", user="u1")
        self.assertTrue(reply["model"].startswith("trained-"))
        self.assertTrue(all("sequence" in item["parts"] for item in reply["items"] if item["source"] == "attention"))
        ranked = client.call("rank", user="u1", items=["other-%d" % i for i in range(5)])
        self.assertEqual(len(ranked["items"]), 5)
        server.stop()


if __name__ == "__main__":
    unittest.main()
