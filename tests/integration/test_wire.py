# SPDX-License-Identifier: Apache-2.0
"""Both encodings of every method, every kind of peer, and several requests at a time."""
import base64
import json
import struct
import unittest

import zmq

import protobuf
import shop
from daemon import RpcError, SharedDaemon

# One request of every method, with every reply field that a test can know: method, params, expected; or the reason of a refusal
REQUESTS = [
    ("ping", {"text": "grüße"}, {"text": "grüße"}),
    ("server.info", {}, {"name": "recsysd", "protocol": 1}),
    ("status", {}, {"state": "ready", "items": 6, "users": 1}),
    ("item.put", {"items": [{"item": "i0005", "title": "Item 5"}]}, {"created": 0, "changed": 1, "errors": []}),
    ("item.get", {"items": ["i0001", "none"]}, {"missing": ["none"]}),
    ("item.list", {"n": 3}, {}),
    ("item.delete", {"items": ["none"]}, {"deleted": 0, "missing": ["none"]}),
    ("feature.put", {"modality": "text", "rows": [{"item": "i0003", "values": [1.0] * shop.TEXT}]},
     {"stored": 1, "errors": [], "created_items": 0}),
    ("list.put", {"lists": [{"user": "nobody", "items": ["i0001", "none"]}]},
     {"stored": 0, "unknown_users": ["nobody"], "unknown_items": 0}),
    ("model.put", {"name": "m", "sha256": "0" * 64, "total": 100},
     {"name": "m", "version": "m-00000000", "received": 0, "total": 100, "complete": False}),
    ("model.get", {"name": "default", "n": 100}, {"name": "default", "offset": 0}),
    ("model.list", {}, {}),
    ("model.activate", {"name": "default"}, {"activated": False, "kept": "it is active already"}),
    ("model.rollback", {}, "NO_PREVIOUS"),
    ("model.load", {"name": "default"}, {}),
    ("model.unload", {"name": "default"}, "NOT_LOADED"),
    ("model.delete", {"name": "none"}, "UNKNOWN_MODEL"),
    ("event.add", {"events": [{"user": "u", "item": "i0000", "key": "k0"}]},
     {"added": 0, "duplicates": 1, "errors": [], "created_users": 0, "created_items": 0}),
    ("impression.add", {"user": "u", "recomm_id": "r", "items": ["i0002", "none"]}, {"unknown": ["none"]}),
    ("feedback.report", {"from": "2020-01-01", "until": "2020-02-01"}, {}),
    ("user.merge", {"from": "nobody", "into": "u"}, {"known": False, "moved": 0, "duplicates": 0}),
    ("user.erase", {"user": "nobody"}, {"known": False, "events": 0, "impressions": 0, "requests": 0, "models": []}),
    ("user.history", {"user": "u", "n": 2}, {"user": "u", "known": True}),
    ("recommend", {"user": "u", "n": 3, "fields": ["title"]}, {"unknown": []}),
    ("rank", {"user": "u", "items": ["i0004", "i0002"]}, {"unknown": []}),
    ("similar", {"items": ["i0001"], "n": 2}, {"unknown": []}),
    ("complement", {"items": ["i0001"], "n": 2}, {"unknown": []}),
    ("top", {"by": "newest", "n": 2}, {"unknown": []}),
    ("next", {"recomm_id": "none"}, "RECOMM_GONE"),
    ("audience", {"item": "i0001", "n": 2}, {"complete": True}),
    ("batch", {"requests": [{"user": "u", "n": 2}, {"user": "v", "n": 1}]}, {}),
    ("explain", {"item": "i0000", "request": {"user": "u", "n": 2}}, {"item": "i0000", "stage": "seen"}),
    ("scenario.list", {}, {"scenarios": []}),
    ("scenario.reload", {}, {"scenarios": 0}),
    ("experiment.list", {}, {"experiments": []}),
    ("experiment.reload", {}, {"experiments": 0}),
    ("experiment.report", {"experiment": "none"}, "UNKNOWN_EXPERIMENT"),
    ("replay", {"model": "none"}, "NOT_LOADED"),
]


def plain(value):
    """64-bit integers are strings in JSON."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


class Encodings(SharedDaemon):
    @classmethod
    def fill(cls, client):
        shop.put_items(client, 6)
        shop.put_features(client, 6)
        client.call("event.add", cascade_create=True, events=[{"user": "u", "item": "i0000", "key": "k0"}])

    def test_the_table_names_every_method(self):
        methods = self.client.call("server.info")["methods"]
        self.assertEqual(sorted(methods), sorted(method for method, _, _ in REQUESTS))

    def check_refused(self, method, params, reason):
        for client in (self.client, self.pb):
            with self.assertRaises(RpcError) as caught:
                client.call(method, **params)
            self.assertEqual(caught.exception.reason, reason, method)

    def check(self, method, params, expected):
        if isinstance(expected, str):
            self.check_refused(method, params, expected)
            return
        by_json, by_protobuf = self.client.call(method, **params), self.pb.call(method, **params)
        for name, value in expected.items():
            self.assertEqual(plain(by_json[name]), value, (method, name, "json"))
            self.assertEqual(by_protobuf[name], value, (method, name, "protobuf"))
        # the same fields by the same names: whatever protobuf has, JSON has too
        self.assertLessEqual(set(by_protobuf), set(by_json), method)
        if "items" in by_protobuf and isinstance(by_protobuf["items"], list):
            self.assertEqual(shop.names(by_json), shop.names(by_protobuf))
            self.assertTrue(shop.names(by_json), method)

    def test_repeated_pairs_are_objects_in_json(self):
        by_json = self.client.call("server.info")["behaviours"]
        by_protobuf = {b["key"]: b["value"] for b in self.pb.call("server.info")["behaviours"]}
        self.assertEqual(by_json, by_protobuf)
        self.assertEqual(by_json["view"], 1)

    def test_64_bit_integers_are_strings_in_json(self):
        self.assertIsInstance(self.client.call("ping")["now_ms"], str)
        self.assertEqual(self.client.call("recommend", user="u", now=str(1700000000000))["now_ms"], "1700000000000")

    def test_vectors_as_attachment(self):
        raw = struct.pack("<%df" % (2 * shop.TEXT), *[1.5] * (2 * shop.TEXT))
        reply = self.pb.call("feature.put", attachments=[raw], modality="text", items=["i0001", "i0002"],
                             dimension=shop.TEXT)
        self.assertEqual(reply["stored"], 2)

    def test_vectors_as_base64(self):
        raw = struct.pack("<%df" % shop.TEXT, *[2.5] * shop.TEXT)
        reply = self.client.call("feature.put", modality="text", items=["i0001"], dimension=shop.TEXT,
                                 raw=base64.b64encode(raw).decode())
        self.assertEqual(reply["stored"], 1)

    def test_names_of_other_systems(self):
        reply = self.client.call("recommend", userId="u", count=2)
        self.assertEqual(len(reply["items"]), 2)


def add_method_tests():
    for method, params, expected in REQUESTS:
        def test(self, method=method, params=params, expected=expected):
            self.check(method, params, expected)
        setattr(Encodings, "test_both_encodings_of_" + method.replace(".", "_"), test)


add_method_tests()


class Peers(SharedDaemon):
    def ping(self, text, request_id):
        header = {"version": 1, "method": "ping", "request_id": request_id}
        return protobuf.encode("RequestHeader", header), protobuf.encode("PingRequest", {"text": text})

    def check_pong(self, frames, text, request_id):
        header, body = frames
        self.assertEqual(protobuf.decode("ReplyHeader", header)["request_id"], request_id)
        self.assertEqual(protobuf.decode("PingReply", body)["text"], text)

    def test_req_json(self):
        peer = self.server.peer(zmq.REQ)
        for text in "ab":
            peer.socket.send_json({"jsonrpc": "2.0", "id": text, "method": "ping", "params": {"text": text}})
            reply = peer.socket.recv_json()
            self.assertEqual((reply["id"], reply["result"]["text"]), (text, text))

    def test_req_protobuf(self):
        peer = self.server.peer(zmq.REQ)
        for request_id in (7, 8):
            peer.send(*self.ping("req", request_id))
            self.check_pong(peer.receive(), "req", request_id)

    def test_dealer_with_delimiter_gets_it_back(self):
        peer = self.server.peer()
        peer.send(b"", *self.ping("d", 9))
        delimiter, *frames = peer.receive()
        self.assertEqual(delimiter, b"")
        self.check_pong(frames, "d", 9)
        peer.send(b"", b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        delimiter, text = peer.receive()
        self.assertEqual((delimiter, json.loads(text)["id"]), (b"", 1))

    def test_dealer_without_delimiter_gets_none(self):
        peer = self.server.peer()
        peer.send(*self.ping("d", 10))
        self.check_pong(peer.receive(), "d", 10)

    def test_one_dealer_may_mix_encodings(self):
        peer = self.server.peer()
        peer.send(*self.ping("p", 2 ** 64 - 1))
        self.check_pong(peer.receive(), "p", 2 ** 64 - 1)
        peer.send(b' \n{"jsonrpc":"2.0","id":null,"method":"ping"}')
        self.assertIsNone(json.loads(peer.receive()[0])["id"])

    def test_request_without_id_is_answered(self):
        peer = self.server.peer()
        peer.send(b'{"jsonrpc":"2.0","method":"ping","params":{"text":"x"}}')
        reply = json.loads(peer.receive()[0])
        self.assertEqual((reply["id"], reply["result"]["text"]), (None, "x"))

    def test_tcp(self):
        server = self.daemon(arguments=["--listen", "tcp://127.0.0.1:*"])
        server.start()  # two endpoints; the port is the system's choice and not told, so ipc must still work
        self.assertEqual(server.json().call("ping", text="t")["text"], "t")
        server.stop()


class InFlight(SharedDaemon):
    http = True
    settings = {"server.queue_requests": 10000}

    @classmethod
    def fill(cls, client):
        shop.put_items(client, 50)

    def test_json_replies_are_matched_by_id(self):
        client = self.server.json()
        expected = {client.send_call("ping", {"text": str(i)}, request_id="r%d" % i): str(i) for i in range(200)}
        answered = {}
        for _ in expected:
            request_id, result, error = client.receive_reply()
            self.assertIsNone(error)
            answered[request_id] = result["text"]
        self.assertEqual(answered, expected)

    def test_protobuf_replies_are_matched_by_id(self):
        client = self.server.protobuf()
        expected = {client.send_call("ping", {"text": str(i)}): str(i) for i in range(200)}
        answered = {}
        for _ in expected:
            request_id, reply, error = client.receive_reply("ping")
            self.assertIsNone(error)
            answered[request_id] = reply["text"]
        self.assertEqual(answered, expected)

    def test_thousands_in_flight_of_a_peer_that_reads(self):
        """As long as it reads, no reply may be thrown away: it would wait for ever."""
        client = self.server.json()
        dropped = self.server.metric("recsysd_replies_dropped_total")
        for i in range(5000):
            client.send_call("ping", {"text": "x" * 100})
        answered = lost = 0
        while answered + lost < 5000:
            if client.socket.poll(100):
                client.receive()
                answered += 1
            else:
                lost = self.server.metric("recsysd_replies_dropped_total") - dropped
        self.assertEqual(lost, 0, "replies dropped")

    def test_slow_and_quick_requests_of_one_dealer(self):
        """Writes wait for the disk, reads do not; each reply has the shape of its own request."""
        client = self.server.json()
        kinds = {}
        for i in range(60):
            if i % 3 == 0:
                event = {"user": "f%d" % i, "item": "i0001"}
                kinds[client.send_call("event.add", {"events": [event], "cascade_create": True})] = "added"
            elif i % 3 == 1:
                kinds[client.send_call("recommend", {"user": "nobody"})] = "recomm_id"
            else:
                kinds[client.send_call("no.such.method")] = None
        for _ in range(len(kinds)):
            request_id, result, error = client.receive_reply()
            member = kinds.pop(request_id)
            if member is None:
                self.assertEqual(error.reason, "UNKNOWN_METHOD")
            else:
                self.assertIn(member, result)
        self.assertEqual(kinds, {})

    def test_peers_get_their_own_replies(self):
        clients = [self.server.json() for _ in range(8)]
        for number, client in enumerate(clients):
            for k in range(10):
                client.send_call("ping", {"text": "%d/%d" % (number, k)}, request_id=k)
        for number, client in enumerate(clients):
            texts = {client.receive_reply()[1]["text"] for _ in range(10)}
            self.assertEqual(texts, {"%d/%d" % (number, k) for k in range(10)})


if __name__ == "__main__":
    unittest.main()
