# SPDX-License-Identifier: Apache-2.0
"""The end of the daemon, asked for or not: what was acknowledged is there afterwards, once."""
import collections
import os
import signal
import sqlite3
import subprocess
import threading
import unittest

import shop
from daemon import RECSYSCTL, RECSYSD, PATIENCE_S, TestCase, die_with_parent, environment, run, until

EVENTS, USERS, ITEMS = 12000, 300, 200
BEGIN_MS = 1700000000000


class Import(TestCase):
    """kill -9 in the middle of an import, then the same command again."""

    def write_shop(self, directory):
        """Some events are twice in the file, which makes no duplicates: people do things twice."""
        path = os.path.join(directory, "shop.inter")
        rows = [("u%d" % (i % USERS), shop.item_name(i * 7 % ITEMS), BEGIN_MS + i // 2) for i in range(EVENTS - 100)]
        rows += rows[:100]
        self.totals = collections.Counter(user for user, _, _ in rows)
        shop.write_inter(path, rows)
        return path

    def start_import(self, server, path):
        command = [RECSYSCTL, "--endpoint", server.endpoint, "--quiet", "--timeout", "1000", "import", "--batch", "20",
                   "--inter", path]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, preexec_fn=die_with_parent)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        client = server.json()
        until(lambda: int(client.call("status")["events"]) > EVENTS // 20, "the import begins")
        return process

    def check_complete(self, server):
        status = server.json().call("status")
        self.assertEqual((status["events"], status["users"], status["items"]),
                         (str(EVENTS), str(USERS), str(ITEMS)))
        for user, total in self.totals.items():
            self.assertEqual(server.json().call("user.history", user=user, n=1)["total"], str(total))
        server.stop()
        done = run(RECSYSD, "--data-dir", server.data_dir, "--check-db")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def import_again(self, server, path):
        summary = server.ctl_json("import", "--inter", path)
        events = summary["events"]
        self.assertEqual((events["added"] + events["duplicates"], events["bad"]), (EVENTS, 0))
        self.assertGreater(events["duplicates"], 0)
        self.assertEqual(server.ctl_json("import", "--inter", path)["events"]["duplicates"], EVENTS)

    def test_daemon_killed(self):
        directory = self.directory()
        path = self.write_shop(directory)
        server = self.daemon(directory).start()
        process = self.start_import(server, path)
        acknowledged = int(server.json().call("status")["events"])
        server.kill()
        output = process.communicate(timeout=PATIENCE_S)[0]
        self.assertIn(process.returncode, (69, 75), output)
        server.start()
        self.assertGreaterEqual(int(server.json().call("status")["events"]), acknowledged)
        self.import_again(server, path)
        self.check_complete(server)

    def test_importer_killed(self):
        directory = self.directory()
        path = self.write_shop(directory)
        server = self.daemon(directory).start()
        process = self.start_import(server, path)
        process.kill()
        process.wait()
        self.import_again(server, path)
        self.check_complete(server)

    def test_daemon_replaced_under_the_importer(self):
        """Back before the importer gives up: it goes on by itself, or says so and a second run completes."""
        directory = self.directory()
        path = self.write_shop(directory)
        server = self.daemon(directory).start()
        process = self.start_import(server, path)
        server.kill()
        server.start()
        output = process.communicate(timeout=PATIENCE_S)[0]
        self.assertIn(process.returncode, (0, 69, 75), output)
        self.import_again(server, path)
        self.check_complete(server)


class Acknowledged(TestCase):
    def test_no_acknowledged_event_is_lost(self):
        """Kill -9 while four clients write; every event that was acknowledged is there, and none twice."""
        directory = self.directory()
        server = self.daemon(directory).start()
        shop.put_items(server.json(), 10)
        acknowledged = set()

        def write(client, user):
            for k in range(100000):
                row = {"user": user, "item": "i0001", "key": "k%d" % k, "ts": BEGIN_MS + k}
                client.send_call("event.add", {"events": [row], "cascade_create": True})
                while not client.socket.poll(50):
                    if stopped.is_set():
                        return
                if client.receive_reply()[2] is None:
                    acknowledged.add((user, BEGIN_MS + k))

        stopped = threading.Event()
        clients = [server.json() for _ in range(4)]
        threads = [threading.Thread(target=write, args=(c, "w%d" % i)) for i, c in enumerate(clients)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: len(acknowledged) >= 400, "400 events acknowledged")
            server.kill()
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
        server.start()
        server.stop()  # so that the log is in the database
        database = sqlite3.connect("file:%s?mode=ro" % database_of(server), uri=True)
        self.addCleanup(database.close)
        stored = list(database.execute("SELECT user.name, event.ts_ms FROM event JOIN user USING (user_id)"))
        self.assertEqual(acknowledged - set(stored), set())
        self.assertEqual(len(stored), len(set(stored)))

    def test_items_and_vectors_survive(self):
        server = self.daemon().start()
        shop.put_items(server.json(), 20)
        shop.put_features(server.json(), 20)
        before = server.json().call("item.list", n=100)
        server.kill()
        server.start()
        self.assertEqual(server.json().call("item.list", n=100), before)
        server.stop()

    def test_killed_again_and_again(self):
        server = self.daemon()
        for round_number in range(5):
            server.start()
            client = server.json()
            self.assertEqual(client.call("status")["events"], str(round_number * 3))
            shop.put_events(client, "u", [1, 2, 3])
            server.kill()


class Idempotency(TestCase):
    def setUp(self):
        self.server = self.daemon().start()
        self.client, self.pb = self.server.json(), self.server.protobuf()

    def tearDown(self):
        self.server.stop()

    def add(self, client, rows, **more):
        reply = client.call("event.add", events=rows, cascade_create=True, **more)
        return reply["added"], reply["duplicates"]

    def test_keys_of_events(self):
        rows = [{"user": "u", "item": "i%d" % i, "key": "k%d" % i} for i in range(10)]
        self.assertEqual(self.add(self.client, rows), (10, 0))
        self.assertEqual(self.add(self.client, rows), (0, 10))
        self.assertEqual(self.add(self.pb, rows + [{"user": "u", "item": "i", "key": "new"}]), (1, 10))
        self.server.kill()
        self.server.start()
        self.assertEqual(self.add(self.client, rows), (0, 10))
        self.assertEqual(self.client.call("user.history", user="u")["total"], "11")

    def test_key_belongs_to_its_user(self):
        self.assertEqual(self.add(self.client, [{"user": u, "item": "i", "key": "k"} for u in "abc"]), (3, 0))

    def test_same_key_twice_in_one_request(self):
        self.assertEqual(self.add(self.client, [{"user": "u", "item": "i", "key": "k"}] * 2), (1, 1))

    def test_key_of_the_request(self):
        rows = [{"user": "u", "item": "i"}, {"user": "u", "item": "i"}]
        for client in (self.client, self.pb):
            key = str(id(client))
            self.assertEqual(self.add(client, rows, idempotency_key=key), (2, 0))
            self.assertEqual(self.add(client, rows, idempotency_key=key), (0, 2))

    def test_without_keys_repeats_are_kept(self):
        rows = [{"user": "u", "item": "i", "ts": 1700000000}] * 3
        self.assertEqual(self.add(self.client, rows), (3, 0))


class Stopping(TestCase):
    def check_drained(self, signal_number, env=None):
        """Everything that was sent before the signal is answered, and on disk."""
        server = self.daemon(env=env).start()
        shop.put_items(server.json(), 10)
        client = server.json()
        client.call("ping")  # connected
        for i in range(200):
            if i % 2:
                client.send_call("recommend", {"user": "u"})
            else:
                client.send_call("event.add", {"events": [{"user": "u", "item": "i0001"}], "cascade_create": True})
        server.process.send_signal(signal_number)
        for _ in range(200):
            self.assertIsNone(client.receive_reply()[2])
        self.assertEqual(server.wait(), 0, server.log_text())
        self.assertEqual([line["event"] for line in server.log if line["event"] == "stopped"], ["stopped"])
        wal = database_of(server) + "-wal"
        self.assertEqual(os.path.getsize(wal) if os.path.exists(wal) else 0, 0, "not checkpointed")
        server.start()
        self.assertEqual(server.json().call("status")["events"], "100")
        server.stop()

    def test_sigterm(self):
        self.check_drained(signal.SIGTERM)

    def test_sigint(self):
        self.check_drained(signal.SIGINT)

    def test_sigterm_beside_threads_of_a_library(self):
        """OpenBLAS starts threads before main() can block signals; one of them must not take the signal."""
        self.check_drained(signal.SIGTERM, env={"OPENBLAS_NUM_THREADS": "2"})

    def test_second_daemon_on_the_same_data(self):
        server = self.daemon().start()
        other = ["--data-dir", server.data_dir, "--listen", server.endpoint + "2", "--http", "off"]
        done = run(RECSYSD, *other)
        self.assertEqual(done.returncode, 75, done.stderr)
        self.assertIn("held by process %d" % server.process.pid, done.stderr)
        self.assertEqual(server.json().call("ping", text="x")["text"], "x")
        server.kill()  # the lock goes with its holder, whatever its file says
        self.daemon(server.directory).start().stop()

    def test_second_daemon_on_the_same_socket(self):
        """Another shop, but by mistake the same endpoint: the first must not silently lose its clients."""
        server = self.daemon().start()
        other = self.daemon()
        other.command += ["--listen", server.endpoint]
        other.start(wait=False)
        with self.assertRaises(AssertionError, msg="it started"):
            other.wait_for("ready")
        self.assertEqual(other.wait(), 69, other.log_text())
        self.assertEqual(server.json().call("status")["state"], "ready")
        server.stop()


def database_of(server):
    return os.path.join(server.data_dir, "shop.db")


if __name__ == "__main__":
    unittest.main()
