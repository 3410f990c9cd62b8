# SPDX-License-Identifier: Apache-2.0
"""What nobody should send: every case has a coded answer, and disturbs nobody else."""
import base64
import json
import math
import struct
import time
import unittest

import zmq

import protobuf
import shop
from daemon import (DEADLINE_EXCEEDED, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, PATIENCE_S, UNIMPLEMENTED,
                    RpcError, SharedDaemon, TestCase, header_error, json_error, until)

FRAME_BYTES = 65536
NAN, INFINITY = math.nan, math.inf


def ping_header(request_id, method="ping"):
    return protobuf.encode("RequestHeader", {"version": 1, "method": method, "request_id": request_id})


class Messages(SharedDaemon):
    """Frames that are no request."""
    http = True
    settings = {"limits.frame_bytes": FRAME_BYTES}

    def setUp(self):
        self.malformed = self.server.metric("recsysd_frames_malformed_total")
        self.bad = self.server.peer()
        self.assertEqual(self.client.call("ping", text="before")["text"], "before")
        self.addCleanup(self.check_bystander)

    def check_bystander(self):
        self.assertEqual(self.client.call("ping", text="after")["text"], "after")

    def check_counted(self):
        self.assertEqual(self.server.metric("recsysd_frames_malformed_total"), self.malformed + 1)

    def protobuf_error(self, *frames):
        self.bad.send(*frames)
        header, body = self.bad.receive()
        self.assertEqual(body, b"")
        return header_error(protobuf.decode("ReplyHeader", header))

    def json_error(self, text):
        self.bad.send(text)
        return json_error(json.loads(self.bad.receive()[0]))

    def check(self, error, code, reason, request_id):
        self.assertEqual((error.code, error.reason, error.request_id), (code, reason, request_id), error)
        self.assertNotEqual(error.message, "")

    # ---- unknown method

    def unimplemented(self):
        return self.server.metric('recsysd_requests_total{method="unknown",code="unimplemented"}')

    def test_unknown_method_json(self):
        before = self.unimplemented()
        error = self.json_error(b'{"jsonrpc":"2.0","id":"a7","method":"recomend"}')
        self.check(error, UNIMPLEMENTED, "UNKNOWN_METHOD", "a7")
        self.assertIn("'recommend'", error.message)
        self.assertEqual(self.unimplemented(), before + 1)

    def test_unknown_method_protobuf(self):
        before = self.unimplemented()
        error = self.protobuf_error(ping_header(77, "item.putt"), b"")
        self.check(error, UNIMPLEMENTED, "UNKNOWN_METHOD", 77)
        self.assertIn("'item.put'", error.message)
        self.assertEqual(self.unimplemented(), before + 1)

    # ---- JSON

    def test_wrong_json(self):
        self.check(self.json_error(b'{"jsonrpc":"2.0","id":5,'), INVALID_ARGUMENT, "BAD_JSON", None)
        self.check_counted()

    def test_json_that_is_no_call(self):
        error = self.json_error(b'{"jsonrpc":"1.0","id":6,"method":"ping"}')
        self.check(error, INVALID_ARGUMENT, "BAD_CALL", 6)
        self.assertEqual(error.field, "jsonrpc")
        self.check_counted()

    def test_json_batch(self):
        self.check(self.json_error(b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]'), INVALID_ARGUMENT, "BAD_CALL", None)
        self.check_counted()

    def test_json_with_unknown_field(self):
        error = self.json_error(b'{"jsonrpc":"2.0","id":8,"method":"recommend","params":{"user":"u","excludes":[]}}')
        self.check(error, INVALID_ARGUMENT, "UNKNOWN_FIELD", 8)
        self.assertEqual(error.field, "excludes")
        self.assertIn("'exclude'", error.message)

    def test_json_nested_too_deep(self):
        text = b'{"jsonrpc":"2.0","id":9,"method":"ping","params":{"text":' + b"[" * 5000 + b"]" * 5000 + b"}}"
        error = self.json_error(text)
        self.assertEqual((error.code, error.reason), (INVALID_ARGUMENT, "BAD_JSON"))
        self.check_counted()

    def test_json_in_two_frames(self):
        self.bad.send(b'{"jsonrpc":"2.0","id":10,"method":"ping"}', b"more")
        self.check(json_error(json.loads(self.bad.receive()[0])), INVALID_ARGUMENT, "BAD_ENVELOPE", 10)
        self.check_counted()

    # ---- protobuf

    def test_truncated_header(self):
        error = self.protobuf_error(ping_header(11)[:-3], b"")
        self.check(error, INVALID_ARGUMENT, "BAD_ENVELOPE", 0)
        self.check_counted()

    def test_truncated_body(self):
        body = protobuf.encode("PingRequest", {"text": "cut short"})
        self.check(self.protobuf_error(ping_header(12), body[:-2]), INVALID_ARGUMENT, "BAD_BODY", 12)
        self.check_counted()

    def test_body_missing(self):
        self.check(self.protobuf_error(ping_header(13)), INVALID_ARGUMENT, "BAD_ENVELOPE", 13)
        self.check_counted()

    def test_other_envelope_version(self):
        header = protobuf.encode("RequestHeader", {"version": 2, "method": "ping", "request_id": 14})
        error = self.protobuf_error(header, b"")
        self.assertEqual((error.reason, error.field, error.request_id), ("BAD_VERSION", "version", 14))

    def test_nine_frames(self):
        self.check(self.protobuf_error(ping_header(15), *[b"x"] * 8), INVALID_ARGUMENT, "BAD_ENVELOPE", 15)
        self.check_counted()

    def test_many_frames_of_json(self):
        self.bad.send(*[b'{"jsonrpc":"2.0","id":16,"method":"ping"}'] * 40)
        self.check(json_error(json.loads(self.bad.receive()[0])), INVALID_ARGUMENT, "BAD_ENVELOPE", 16)
        self.check_counted()

    def test_no_frames(self):
        self.bad.send(b"")  # the delimiter alone
        delimiter, header, body = self.bad.receive()
        self.assertEqual((delimiter, body), (b"", b""))
        self.check(header_error(protobuf.decode("ReplyHeader", header)), INVALID_ARGUMENT, "BAD_ENVELOPE", 0)
        self.check_counted()

    # ---- size

    def watch_connection(self):
        """A socket that is readable once the connection has ended."""
        self.addCleanup(self.bad.socket.disable_monitor)
        return self.bad.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def test_largest_frame(self):
        empty = b'{"jsonrpc":"2.0","id":17,"method":"ping","params":{"text":""}}'
        self.bad.send(empty.replace(b'""', b'"' + b"x" * (FRAME_BYTES - len(empty)) + b'"'))
        self.assertEqual(json.loads(self.bad.receive()[0])["id"], 17)

    def test_frame_over_the_limit_is_told(self):
        monitor = self.watch_connection()
        self.bad.send(ping_header(18), protobuf.encode("PingRequest", {"text": "x" * FRAME_BYTES}))
        self.assertNotEqual(zmq.select([self.bad.socket, monitor], [], [], PATIENCE_S)[0], [], "neither answer nor end")
        if not self.bad.socket.poll(0):
            self.fail("the connection was ended without an answer")
        error = header_error(protobuf.decode("ReplyHeader", self.bad.receive()[0]))
        self.assertIn(error.code, (INVALID_ARGUMENT, RESOURCE_EXHAUSTED))
        self.assertEqual(error.request_id, 18)
        self.check_counted()

    def test_frame_far_over_the_limit_ends_the_connection(self):
        """ZeroMQ does not read it, so nobody can answer; the same socket connects again and is served."""
        monitor = self.watch_connection()
        self.bad.send(ping_header(19), b"x" * (1 << 24))
        self.assertTrue(monitor.poll(PATIENCE_S * 1000), "still connected")
        self.bad.send(b'{"jsonrpc":"2.0","id":20,"method":"ping"}')
        self.assertEqual(json.loads(self.bad.receive()[0])["id"], 20)

    def test_body_over_the_limit_by_http(self):
        call = {"jsonrpc": "2.0", "id": 21, "method": "ping", "params": {"text": "x" * FRAME_BYTES}}
        status, reply = self.server.rpc(call)
        self.assertEqual((status, reply["error"]["code"]), (413, RESOURCE_EXHAUSTED))
        self.check_counted()


class Features(SharedDaemon):
    """One bad vector in a batch."""
    DIMENSION = 4

    @classmethod
    def fill(cls, client):
        client.call("item.put", items=[{"item": "known"}])
        client.call("feature.put", modality="text", create=True, rows=[{"item": "known", "values": [1, 2, 3, 4]}])

    def put(self, vectors, atomic, **more):
        """Vectors of new items a0, a1, ...; their names and the reply or error."""
        prefix = self.id().rsplit(".", 1)[1]
        items = ["%s-%s-%d" % (prefix, atomic, i) for i in range(len(vectors))]
        self.client.call("item.put", items=[{"item": item} for item in items])
        rows = [{"item": item, "values": v} for item, v in zip(items, vectors)]
        try:
            return items, self.pb.call("feature.put", modality="text", rows=rows, atomic=atomic, **more)
        except RpcError as error:
            return items, error

    def with_vectors(self, items):
        return [i["item"] for i in self.client.call("item.get", items=items)["items"] if i.get("features")]

    def check(self, bad, reason, at=1):
        vectors = [[1.0, 0.5, 0.25, float(i)] for i in range(3)]
        vectors[at] = bad
        items, error = self.put(vectors, atomic=True)
        self.assertIsInstance(error, RpcError)
        self.check_error(error, reason, items[at], at)
        self.assertEqual(error.code, INVALID_ARGUMENT)
        self.assertEqual(self.with_vectors(items), [])

        items, reply = self.put(vectors, atomic=False)
        if isinstance(reply, RpcError):
            self.fail("one bad row refused all: %s" % reply)
        self.assertEqual((reply["stored"], [e["row"] for e in reply["errors"]]), (2, [at]))
        error = RpcError(INVALID_ARGUMENT, **{k: v for k, v in reply["errors"][0].items() if k != "row"})
        self.check_error(error, reason, items[at], at)
        self.assertEqual(self.with_vectors(items), [items[i] for i in range(3) if i != at])

    def check_error(self, error, reason, item, at):
        self.assertEqual((error.reason, error.field), (reason, "rows[%d].values" % at))
        self.assertIn("'%s'" % item, error.message)
        self.assertIn("'text'", error.message)

    def test_nan(self):
        self.check([1, 2, NAN, 4], "NON_FINITE_VALUE")

    def test_infinity(self):
        self.check([1, INFINITY, 3, 4], "NON_FINITE_VALUE")

    def test_minus_infinity(self):
        self.check([-INFINITY, 2, 3, 4], "NON_FINITE_VALUE")

    def test_zero_norm(self):
        self.check([0, 0, -0.0, 0], "ZERO_NORM")

    def test_too_short(self):
        self.check([1, 2, 3], "DIM_MISMATCH")

    def test_too_long_in_the_last_row(self):
        self.check([1, 2, 3, 4, 5], "DIM_MISMATCH", at=2)

    def test_wrong_dimension_in_the_first_row(self):
        """The others have the dimension that the shop knows: the first is the odd one out, not they."""
        self.check([1, 2, 3], "DIM_MISMATCH", at=0)

    def test_empty_vector_in_the_first_row(self):
        self.check([], "DIM_MISMATCH", at=0)

    def test_index_of_the_value(self):
        _, error = self.put([[1, 2, 3, NAN]], atomic=True)
        self.assertIn("value 3", error.message)

    def test_all_of_another_dimension(self):
        items, error = self.put([[1, 2], [3, 4]], atomic=True)
        self.assertEqual((error.code, error.reason), (INVALID_ARGUMENT, "DIM_MISMATCH"))
        self.assertIn("'text'", error.message)
        self.assertEqual(self.with_vectors(items), [])

    def test_nan_in_an_attachment(self):
        raw = struct.pack("<8f", 1, 2, 3, 4, 1, NAN, 3, 4)
        error = self.refused(INVALID_ARGUMENT, self.pb.call, "feature.put", attachments=[raw], modality="text",
                             items=["known", "known"], dimension=4)
        self.assertEqual((error.reason, error.field), ("NON_FINITE_VALUE", "rows[1].values"))

    def test_attachment_of_the_wrong_size(self):
        error = self.refused(INVALID_ARGUMENT, self.pb.call, "feature.put", attachments=[b"\0" * 15],
                             modality="text", items=["known"], dimension=4)
        self.assertIn("15", error.message)

    def test_base64_of_the_wrong_size(self):
        raw = base64.b64encode(struct.pack("<3f", 1, 2, 3)).decode()
        error = self.refused(INVALID_ARGUMENT, self.client.call, "feature.put", modality="text", items=["known"],
                             dimension=4, raw=raw)
        self.assertEqual(error.reason, "DIM_MISMATCH")

    def test_unknown_modality_without_create(self):
        for atomic in (True, False):
            error = self.refused(INVALID_ARGUMENT, self.client.call, "feature.put", modality="sound", atomic=atomic,
                                 rows=[{"item": "known", "values": [1, 2, 3, 4]}])
            self.assertEqual((error.reason, error.field), ("UNKNOWN_MODALITY", "modality"))
            self.assertIn("'sound'", error.message)
        self.assertEqual([f["modality"] for f in self.client.call("status")["features"]], ["text"])

    def test_unknown_item(self):
        rows = [{"item": "known", "values": [4, 3, 2, 1]}, {"item": "stranger", "values": [1, 2, 3, 4]}]
        error = self.refused(NOT_FOUND, self.client.call, "feature.put", modality="text", rows=rows)
        self.assertEqual((error.reason, error.field), ("UNKNOWN_ITEM", "rows[1].item"))
        reply = self.client.call("feature.put", modality="text", rows=rows, atomic=False)
        self.assertEqual((reply["stored"], reply["errors"][0]["row"]), (1, 1))
        reply = self.client.call("feature.put", modality="text", rows=[rows[1]], cascade_create=True)
        self.assertEqual((reply["stored"], reply["created_items"]), (1, 1))


class Events(SharedDaemon):
    @classmethod
    def fill(cls, client):
        client.call("item.put", items=[{"item": "known"}])
        client.call("event.add", events=[{"user": "known", "item": "known"}], cascade_create=True)

    def add(self, user, item, **more):
        rows = [{"user": "known", "item": "known"}, {"user": user, "item": item}]
        return self.client.call("event.add", events=rows, **more)

    def total(self):
        return int(self.client.call("user.history", user="known")["total"])

    def check_refused(self, user, item, reason, field):
        before = self.total()
        error = self.refused(NOT_FOUND, self.add, user, item)
        self.assertEqual((error.reason, error.field), (reason, field))
        self.assertEqual(self.total(), before)
        reply = self.add(user, item, atomic=False)
        self.assertEqual((reply["added"], self.total()), (1, before + 1))
        (row,) = reply["errors"]
        self.assertEqual((row["row"], row["reason"], row["field"]), (1, reason, field))

    def test_unknown_user_is_refused_with_its_row(self):
        self.check_refused("stranger", "known", "UNKNOWN_USER", "events[1].user")
        self.assertFalse(self.client.call("user.history", user="stranger")["known"])

    def test_unknown_item_is_refused_with_its_row(self):
        self.check_refused("known", "strange", "UNKNOWN_ITEM", "events[1].item")
        self.assertEqual(self.client.call("item.get", items=["strange"])["missing"], ["strange"])

    def test_unknown_user_and_item_are_created_when_asked(self):
        reply = self.add("new user", "new item", cascade_create=True)
        self.assertEqual((reply["added"], reply["created_users"], reply["created_items"]), (2, 1, 1))
        self.assertEqual(self.client.call("user.history", user="new user")["events"][0]["item"], "new item")
        self.assertEqual(self.client.call("item.get", items=["new item"])["missing"], [])

    def test_unknown_behaviour(self):
        rows = [{"user": "known", "item": "known", "behaviour": "stare"}]
        error = self.refused(INVALID_ARGUMENT, self.client.call, "event.add", events=rows)
        self.assertEqual((error.reason, error.field), ("UNKNOWN_BEHAVIOUR", "events[0].behaviour"))

    def test_value_that_is_not_finite(self):
        error = self.refused(INVALID_ARGUMENT, self.pb.call, "event.add",
                             events=[{"user": "known", "item": "known", "value": NAN}])
        self.assertEqual(error.field, "events[0].value")

    def test_no_events(self):
        self.refused(INVALID_ARGUMENT, self.client.call, "event.add", events=[])


class Values(SharedDaemon):
    """Values out of their range, each named in error.data.field."""
    @classmethod
    def fill(cls, client):
        shop.put_items(client, 3)

    def check(self, field, method, **params):
        for client in (self.client, self.pb):
            error = self.refused(INVALID_ARGUMENT, client.call, method, **params)
            self.assertEqual(error.field, field, error)

    def check_n(self, n):
        self.check("n", "recommend", user="u", n=n)
        self.check("n", "rank", user="u", items=["i0001"], n=n)
        self.check("n", "similar", items=["i0001"], n=n)
        self.check("n", "user.history", user="u", n=n)
        self.check("n", "item.list", n=n)

    def test_n_of_zero(self):
        self.check_n(0)

    def test_n_of_a_billion(self):
        self.check_n(10 ** 9)

    def test_n_negative(self):
        self.check_n(-1)

    def test_n_beyond_32_bits(self):
        error = self.refused(INVALID_ARGUMENT, self.client.call, "recommend", user="u", n=10 ** 12)
        self.assertEqual(error.field, "n")

    def check_id(self, bad):
        if bad:  # without a user: for nobody
            self.check("user", "recommend", user=bad)
        self.check("user", "user.history", user=bad)
        self.check("exclude[1]", "recommend", user="u", exclude=["a", bad])
        self.check("items[1]", "rank", user="u", items=["i0001", bad])
        self.check("items[0]", "similar", items=[bad])
        self.check("items[0]", "item.get", items=[bad])
        self.check("items[2]", "item.delete", items=["a", "b", bad])
        self.check("items[0].item", "item.put", items=[{"item": bad}])
        self.check("events[1].user", "event.add", events=[{"user": "u", "item": "i"}, {"user": bad, "item": "i"}])
        self.check("events[0].item", "event.add", events=[{"user": "u", "item": bad}])
        self.check("rows[0].item", "feature.put", modality="text", rows=[{"item": bad, "values": [1.0]}])

    def test_id_of_10_kb(self):
        self.check_id("x" * 10240)

    def test_id_one_byte_too_long(self):
        self.check_id("é" * 128 + "x")  # bytes count, not characters

    def test_longest_id(self):
        self.assertIn("unknown_user", self.client.call("recommend", user="é" * 128)["degraded"])

    def test_empty_id(self):
        self.check_id("")

    def test_id_with_control_character(self):
        self.check_id("a\nb")

    def check_not_utf8(self, field, method, **params):
        error = self.refused(INVALID_ARGUMENT, self.pb.call, method, **params)
        self.assertEqual((error.reason, error.field), ("BAD_BODY", field))

    def test_invalid_utf8(self):
        self.check_not_utf8("user", "recommend", user=b"caf\xe9")
        self.check_not_utf8("exclude[1]", "recommend", user="u", exclude=["a", b"\xff"])
        self.check_not_utf8("events[1].item", "event.add",
                            events=[{"user": "u", "item": "i"}, {"user": "u", "item": b"\xc0\x80"}])

    def test_nul_in_a_string(self):
        self.check_not_utf8("user", "recommend", user=b"a\0b")

    def check_time(self, bad):
        self.check("events[0].ts", "event.add", cascade_create=True, events=[{"user": "u", "item": "i", "ts": bad}])
        for name, method, params in (("now", "recommend", {"user": "u"}), ("now", "similar", {"items": ["i0001"]})):
            error = self.refused(INVALID_ARGUMENT, self.pb.call, method, now=bad, **params)
            self.assertIn(error.field, (name, "now_ms"))
        self.assertFalse(self.client.call("user.history", user="u")["known"])

    def test_more_than_a_day_ahead(self):
        ahead_s = time.time() + 25 * 3600
        self.check_time(str(int(ahead_s * 1000)))
        self.check_time(str(int(ahead_s)))
        self.check_time(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ahead_s)))

    def test_less_than_a_day_ahead(self):
        ahead = {"user": "early", "item": "i0001", "ts": int(time.time()) + 23 * 3600}
        self.assertEqual(self.client.call("event.add", events=[ahead], cascade_create=True)["added"], 1)

    def test_ambiguous_magnitude(self):
        self.check_time("50000000000")
        self.check_time("12345")

    def test_not_a_time(self):
        for bad in ("yesterday", "2024-02-30", "2024-01-01T25:00:00Z", "-5", "1e12", "nan"):
            self.check_time(bad)

    def test_times_of_items(self):
        self.check("items[0].expires", "item.put", items=[{"item": "i0001", "expires": "soon"}])
        self.check("items[0].created", "item.put", items=[{"item": "i0001", "created": "50000000000"}])

    def test_number_as_time_in_json(self):
        for bad in (50000000000, 1.5, 0):
            error = self.refused(INVALID_ARGUMENT, self.client.call, "event.add",
                                 events=[{"user": "u", "item": "i", "ts": bad}])
            self.assertEqual(error.field, "events[0].ts")

    def test_price(self):
        self.check("items[0].price", "item.put", items=[{"item": "i0001", "price": -1}])
        error = self.refused(INVALID_ARGUMENT, self.pb.call, "item.put", items=[{"item": "i0001", "price": NAN}])
        self.assertEqual(error.field, "items[0].price")

    def test_weights(self):
        for bad in ({"smell": 1}, {"behaviour": -1}, {"popularity": 1000}):
            error = self.refused(INVALID_ARGUMENT, self.client.call, "recommend", user="u", weights=bad)
            self.assertEqual(error.field, "weights")

    def test_positions(self):
        for bad in ("x", "-1", "1.5", "99999999999999999999"):
            self.check("min_seq", "recommend", user="u", min_seq=bad)
            self.check("at_seq", "recommend", user="u", at_seq=bad)


class UnknownUser(SharedDaemon):
    @classmethod
    def fill(cls, client):
        shop.put_items(client, 40)
        shop.put_events(client, "somebody", [3, 3, 3, 5])

    def test_filled_from_trending_and_new_items(self):
        until(lambda: self.client.call("status")["counts"] != "0", "counts")
        for client in (self.client, self.pb):
            reply = client.call("recommend", user="never seen", n=20)
            self.assertEqual(len(set(shop.names(reply))), 20)
            self.assertIn("unknown_user", reply["degraded"])
            self.assertLessEqual({item["source"] for item in reply["items"]}, {"trending", "popular", "newest"})
            self.assertNotEqual(reply["filled"], "")

    def test_what_others_look_at_comes_first_then_what_is_new(self):
        def first():
            return shop.names(self.client.call("recommend", user="never seen", n=4))
        until(lambda: first() == ["i0003", "i0005", "i0039", "i0038"], "the trending items in front: %s" % first())

    def test_user_without_events_is_no_error_either(self):
        self.assertEqual(self.client.call("user.history", user="never seen")["known"], False)
        self.assertEqual(len(self.client.call("rank", user="never seen", items=["i0001", "i0002"])["items"]), 2)


class Overload(TestCase):
    """One worker behind a queue, blocked by requests that take long: each ranks a whole shop."""
    ITEMS, REQUESTS = 5000, 60

    def blocked(self, **settings):
        server = self.daemon(http=True, settings={"server.workers": 1, "server.timeout_ms": 60000, **settings})
        server.start()
        client = server.json()
        for first in range(0, self.ITEMS, 1000):
            shop.put_items(client, 1000, first)
        return server, client

    def send_heavy(self, client):
        return [client.send_call("recommend", {"user": "u", "n": 1000, "fields": ["title"]})
                for _ in range(self.REQUESTS)]

    def test_deadline_passed_in_the_queue(self):
        server, client = self.blocked()
        scored = server.metric("recsysd_engine_seconds_count")
        expected = {i: None for i in self.send_heavy(client)}
        late = client.send_call("recommend", {"user": "u", "timeout_ms": 1})
        for _ in range(self.REQUESTS + 1):
            request_id, _, error = client.receive_reply()
            expected[request_id] = error
        error = expected.pop(late)
        self.assertIsNotNone(error, "answered after its deadline")
        self.assertEqual((error.code, error.reason), (DEADLINE_EXCEEDED, "EXPIRED_IN_QUEUE"))
        self.assertEqual(set(expected.values()), {None})
        self.assertEqual(server.metric("recsysd_engine_seconds_count"), scored + self.REQUESTS)  # it was not scored
        self.assertEqual(server.metric("recsysd_rejected_deadline_total"), 1)
        server.stop()

    def test_queue_full(self):
        server, client = self.blocked(**{"server.queue_requests": 1})
        self.send_heavy(client)
        errors = [client.receive_reply()[2] for _ in range(self.REQUESTS)]
        full = [error for error in errors if error is not None]
        self.assertTrue(full, "the queue of one request took %d" % self.REQUESTS)
        self.assertLess(len(full), self.REQUESTS, "nothing was served")
        for error in full:
            self.assertEqual((error.code, error.reason), (RESOURCE_EXHAUSTED, "QUEUE_FULL"))
            self.assertGreater(error.retry_after_ms, 0)
        self.assertEqual(server.metric("recsysd_rejected_queue_full_total"), len(full))
        self.assertEqual(client.call("ping", text="served again")["text"], "served again")
        server.stop()


if __name__ == "__main__":
    unittest.main()
