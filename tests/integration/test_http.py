# SPDX-License-Identifier: Apache-2.0
"""The HTTP port: health, metrics, and POST /rpc, which does what a socket does."""
import http.client
import json
import os
import re
import unittest

import shop
from daemon import FAILED_PRECONDITION, INVALID_ARGUMENT, PATIENCE_S, RESOURCE_EXHAUSTED, SharedDaemon, TestCase, UNIMPLEMENTED

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"text": "hallo"}}


class Health(SharedDaemon):
    http = True

    def test_livez_and_readyz(self):
        for path in ("/livez", "/readyz", "/healthz"):
            status, headers, text = self.server.http("GET", path)
            self.assertEqual((status, text.strip() != ""), (200, True), path)
            self.assertEqual(headers["Cache-Control"], "no-store")

    def test_version(self):
        _, _, text = self.server.http("GET", "/version")
        self.assertEqual(text.strip(), self.client.call("server.info")["version"])

    def test_head(self):
        status, _, text = self.server.http("HEAD", "/readyz")
        self.assertEqual((status, text), (200, ""))

    def test_no_such_path(self):
        for path in ("/", "/metrics/", "/../etc/passwd", "/debug"):
            self.assertEqual(self.server.http("GET", path)[0], 404, path)

    def test_wrong_method(self):
        for method, path, allow in (("POST", "/livez", "GET, HEAD"), ("DELETE", "/metrics", "GET, HEAD"),
                                    ("GET", "/rpc", "POST")):
            status, headers, _ = self.server.http(method, path)
            self.assertEqual((status, headers["Allow"]), (405, allow))


class Metrics(SharedDaemon):
    http = True

    def test_format(self):
        status, headers, text = self.server.http("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        typed = set(re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)$", text, re.M))
        sample = re.compile(r'^([a-z_]+)(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? [-+0-9.eEInfNa]+$')
        for line in text.splitlines():
            if not line.startswith("#"):
                self.assertRegex(line, sample)
                name = sample.match(line).group(1)
                base = re.sub(r"_(bucket|sum|count)$", "", name)
                self.assertTrue(name in typed or base in typed, line)

    def test_requests_are_counted_by_method_and_code(self):
        def counts():
            return [self.server.metric('recsysd_requests_total{method="%s",code="%s"}' % pair)
                    for pair in (("ping", "ok"), ("recommend", "invalid_argument"), ("unknown", "unimplemented"))]
        before = counts()
        self.client.call("ping")
        self.pb.call("ping")
        self.server.rpc(PING)
        self.refused(INVALID_ARGUMENT, self.client.call, "recommend", user="u", n=0)
        self.refused(UNIMPLEMENTED, self.client.call, "x")
        self.assertEqual([b - a for a, b in zip(before, counts())], [3, 1, 1])

    def test_gauges_follow_the_shop(self):
        shop.put_items(self.client, 7)
        added = self.server.metric("recsysd_events_added_total")
        shop.put_events(self.client, "u", [1, 2, 3])
        self.assertEqual(self.server.metric("recsysd_events_added_total"), added + 3)
        self.assertEqual(self.server.metric("recsysd_store_writable"), 1)

    def test_duration_histogram(self):
        name = 'recsysd_request_duration_seconds_%s{method="item.list"%s}'
        self.client.call("item.list")
        count = self.server.metric(name % ("count", ""))
        self.assertGreaterEqual(count, 1)
        self.assertEqual(self.server.metric(name % ("bucket", ',le="+Inf"')), count)

    def test_method_names_of_strangers_make_no_series(self):
        for i in range(200):
            self.client.send_call("stranger%d" % i)
        for _ in range(200):
            self.client.receive_reply()
        self.assertNotIn("stranger", self.server.http("GET", "/metrics")[2])


class Rpc(SharedDaemon):
    http = True
    settings = {"limits.frame_bytes": 65536}

    @classmethod
    def fill(cls, client):
        shop.put_items(client, 10)

    def test_call(self):
        status, reply = self.server.rpc(PING)
        self.assertEqual((status, reply["id"], reply["result"]["text"]), (200, 1, "hallo"))

    def test_every_read_and_write_method(self):
        methods = self.client.call("server.info")["methods"]
        for method in methods:
            _, reply = self.server.rpc({"jsonrpc": "2.0", "id": method, "method": method, "params": {}})
            self.assertEqual(reply["id"], method)
            refusals = (INVALID_ARGUMENT, FAILED_PRECONDITION) if method == "model.rollback" else (INVALID_ARGUMENT,)
            self.assertTrue("result" in reply or reply["error"]["code"] in refusals, reply)

    def test_write_by_http_read_by_socket(self):
        call = {"jsonrpc": "2.0", "id": 1, "method": "event.add",
                "params": {"events": [{"user": "web", "item": "i0003"}], "cascade_create": True}}
        status, reply = self.server.rpc(call)
        self.assertEqual((status, reply["result"]["added"]), (200, 1))
        shown = self.client.call("recommend", user="web", n=100, min_seq=reply["result"]["seq"])
        self.assertNotIn("i0003", shop.names(shown))

    def test_same_list_as_by_socket(self):
        now = 1700000000000
        call = {"jsonrpc": "2.0", "id": 1, "method": "recommend", "params": {"user": "x", "now": now}}
        by_http, by_socket = self.server.rpc(call)[1]["result"], self.client.call("recommend", user="x", now=now)
        self.assertEqual(by_http["items"], by_socket["items"])

    def test_errors_have_a_status_and_a_code(self):
        cases = [(dict(PING, method="pin"), 501, UNIMPLEMENTED),
                 (dict(PING, method="recommend"), 400, INVALID_ARGUMENT),
                 (dict(PING, method="recommend", params={"user": "u", "at_seq": "999999"}), 412, 9),
                 (dict(PING, method="event.add", params={"events": [{"user": "no", "item": "i0001"}]}), 404, 5)]
        for call, status, code in cases:
            found, reply = self.server.rpc(call)
            self.assertEqual((found, reply["error"]["code"], reply["id"]), (status, code, 1), call)

    def test_body_that_is_no_call(self):
        for body in ("", "ping", "{", "[]", "\xff"):
            status, reply = self.server.rpc(body.encode("latin-1"))
            self.assertEqual((status, reply["error"]["code"]), (400, INVALID_ARGUMENT), body)

    def test_content_type(self):
        for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
            self.assertEqual(self.server.http("POST", "/rpc", json.dumps(PING), headers)[0], 415, headers)

    def test_origin_is_refused(self):
        """A web page must not reach the port through its visitor's browser."""
        for method, path in (("POST", "/rpc"), ("GET", "/metrics"), ("GET", "/livez")):
            for origin in ("http://evil.example", "null", "http://127.0.0.1"):
                status, headers, _ = self.server.http(method, path, json.dumps(PING) if method == "POST" else None,
                                                      {"Content-Type": "application/json", "Origin": origin})
                self.assertEqual(status, 403, (path, origin))
                self.assertNotIn("Access-Control-Allow-Origin", headers)

    def test_refused_origin_writes_nothing(self):
        call = {"jsonrpc": "2.0", "id": 1, "method": "item.put", "params": {"items": [{"item": "evil"}]}}
        self.assertEqual(self.server.rpc(call, {"Origin": "http://evil.example"})[0], 403)
        self.assertEqual(self.client.call("item.get", items=["evil"])["missing"], ["evil"])

    def test_body_over_the_limit(self):
        status, reply = self.server.rpc(dict(PING, params={"text": "x" * 65536}))
        self.assertEqual((status, reply["error"]["code"]), (413, RESOURCE_EXHAUSTED))

    def test_one_connection_for_many_calls(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=PATIENCE_S)
        self.addCleanup(connection.close)
        sockets = set()
        for i in range(20):
            connection.request("POST", "/rpc", json.dumps(dict(PING, id=i)), {"Content-Type": "application/json"})
            sockets.add(connection.sock)
            self.assertEqual(json.loads(connection.getresponse().read())["id"], i)
        self.assertEqual(len(sockets), 1)


class Ports(TestCase):
    @unittest.skipUnless(os.path.exists("/proc/self/fd"), "needs /proc")
    def test_off(self):
        server = self.daemon().start()
        self.assertEqual([line for line in server.log if "http on" in line.get("msg", "")], [])
        links = [os.readlink("/proc/%d/fd/%s" % (server.process.pid, fd))
                 for fd in os.listdir("/proc/%d/fd" % server.process.pid)]
        sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
        with open("/proc/net/tcp", encoding="ascii") as table:
            owned = [row for row in table.read().splitlines()[1:] if row.split()[9] in sockets]
        self.assertEqual(owned, [])
        server.stop()

    def test_port_in_use(self):
        server = self.daemon(http=True).start()
        other = self.daemon(arguments=["--http", "127.0.0.1:%d" % server.http_port])
        other.start(wait=False)
        self.assertEqual(other.wait(), 69)
        self.assertIn("127.0.0.1:%d" % server.http_port, other.log_text())
        server.stop()


if __name__ == "__main__":
    unittest.main()
