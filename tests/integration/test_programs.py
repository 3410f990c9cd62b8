# SPDX-License-Identifier: Apache-2.0
"""Command lines: exit codes and the sentences that go with them; settings; files that recsysctl import refuses."""
import hashlib
import os
import pwd
import shutil
import sqlite3
import struct
import subprocess
import unittest

import shop
from daemon import (INVALID_ARGUMENT, RECSYSCTL, RECSYSD, RESOURCE_EXHAUSTED, RpcError, TestCase, die_with_parent,
                    run)


class ProgramCase(TestCase):
    def check(self, done, code, *words):
        """That exit code, and one sentence with those words, no more than a few lines."""
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertLessEqual(len(done.stderr.splitlines()), 4, done.stderr)
        self.assertNotIn("Sanitizer", done.stderr)

    def write(self, name, text):
        path = os.path.join(self.directory(), name)
        with open(path, "wb") as out:
            out.write(text if isinstance(text, bytes) else text.encode())
        return path


class Configuration(ProgramCase):
    def check_file(self, text, *words, code=78):
        path = self.write("recsysd.yaml", text)
        self.check(run(RECSYSD, "--config", path, "--check-config"), code, *words)
        return path

    def test_misspelt_key(self):
        path = self.write("recsysd.yaml", "server:\n  http: off\n  worker: 4\n")
        self.check(run(RECSYSD, "--config", path, "--check-config"), 78, path + ":3:3:", "'server.worker'", "'workers'")

    def test_misspelt_section(self):
        self.check_file("sever:\n  http: off\n", ":1:1:", "'sever'", "'server'")

    def test_bad_values(self):
        for text, word in (("server:\n  workers: many\n", ":2:12:"), ("limits:\n  list: 0\n", "1 to 100000"),
                           ("server:\n  http: 1\n  http: 2\n", ":3:3:"), ("server: [\n", ":")):
            self.check_file(text, word)

    def test_open_to_the_world_needs_to_be_said(self):
        self.check_file("server:\n  listen: tcp://0.0.0.0:7000\n", "allow_insecure")
        path = self.write("ok.yaml", "server:\n  allow_insecure: true\n  listen: tcp://0.0.0.0:7000\n")
        self.assertEqual(run(RECSYSD, "--config", path, "--check-config").returncode, 0)

    def test_good_file(self):
        path = self.write("recsysd.yaml", "server:\n  workers: 3\n")
        self.assertEqual(run(RECSYSD, "--config", path, "--check-config").returncode, 0)

    def test_file_that_is_not_there(self):
        self.check(run(RECSYSD, "--config", "/no/such/file.yaml", "--check-config"), 66, "/no/such/file.yaml")

    def test_bad_flag_and_environment(self):
        self.check(run(RECSYSD, "--set", "server.worker=4", "--check-config"), 78, "'server.workers'")
        self.check(run(RECSYSD, "--check-config", env={"RECSYSD__SERVER__WORKER": "4"}), 78,
                   "RECSYSD__SERVER__WORKERS")

    def workers(self, *arguments, env=None):
        done = run(RECSYSD, *arguments, "--print-config", env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("  workers:")]
        return int(line.split()[1])

    def test_flag_before_environment_before_file_before_default(self):
        file = ["--config", self.write("recsysd.yaml", "server:\n  workers: 3\n")]
        flag, env = ["--set", "server.workers=5"], {"RECSYSD__SERVER__WORKERS": "4"}
        self.assertEqual(self.workers(), 0)
        self.assertEqual(self.workers(*file), 3)
        self.assertEqual(self.workers(*file, env=env), 4)
        self.assertEqual(self.workers(*file, *flag, env=env), 5)
        self.assertEqual(self.workers(*flag, *file), 5)
        self.assertEqual(self.workers(env=env), 4)

    def test_what_is_printed_can_be_read(self):
        printed = run(RECSYSD, "--set", "limits.list=77", "--listen", "ipc:///tmp/a b", "--print-config").stdout
        again = run(RECSYSD, "--config", self.write("printed.yaml", printed), "--print-config").stdout
        self.assertEqual(again, printed)
        self.assertIn("list: 77", printed)

    def test_listen_flag_replaces_the_file(self):
        path = self.write("recsysd.yaml", "server:\n  listen: [ipc:///tmp/one, ipc:///tmp/two]\n")
        printed = run(RECSYSD, "--config", path, "--listen", "ipc:///tmp/three", "--print-config").stdout
        self.assertIn("ipc:///tmp/three", printed)
        self.assertNotIn("ipc:///tmp/one", printed)


class Limits(TestCase):
    """Each limit is a setting, is told by server.info, and holds."""
    SETTINGS = {"limits.list": 7, "limits.ranked": 5, "limits.exclude": 3, "limits.batch": 4, "limits.id_bytes": 16,
                "limits.attributes_bytes": 100, "limits.modalities": 1, "limits.dimension": 3,
                "limits.future_ms": 60000}

    def setUp(self):
        self.server = self.daemon(settings=self.SETTINGS).start()
        self.client = self.server.json()
        self.client.call("item.put", items=[{"item": "i"}])

    def tearDown(self):
        self.server.stop()

    def check(self, field, method, code=INVALID_ARGUMENT, **params):
        self.assertEqual(self.refused(code, self.client.call, method, **params).field, field)

    def test_told(self):
        told = self.client.call("server.info")["limits"]
        names = {"list": "n"}
        for key, value in self.SETTINGS.items():
            name = key.split(".")[1]
            self.assertEqual(int(told[names.get(name, name)]), value, key)

    def test_lists(self):
        self.client.call("recommend", user="u", n=7)
        self.check("n", "recommend", user="u", n=8)
        self.client.call("rank", user="u", items=["i"] * 5)
        self.check("items", "rank", user="u", items=["i"] * 6)
        self.client.call("recommend", user="u", exclude=["i"] * 3)
        self.check("exclude", "recommend", user="u", exclude=["i"] * 4)

    def test_writes(self):
        self.client.call("item.put", items=[{"item": "i"}] * 4)
        self.check("", "item.put", items=[{"item": "i"}] * 5)
        self.check("", "event.add", events=[{"user": "u", "item": "i"}] * 5)
        self.check("items[0].item", "item.put", items=[{"item": "x" * 17}])
        self.check("items[0].attributes", "item.put", items=[{"item": "i", "title": "x" * 101}])
        self.check("events[0].ts", "event.add", events=[{"user": "u", "item": "i", "ts": "2100-01-01"}])

    def test_vectors(self):
        def put(modality, dimension):
            return {"modality": modality, "create": True, "rows": [{"item": "i", "values": [1] * dimension}]}
        self.check("dimension", "feature.put", **put("text", 4))
        self.client.call("feature.put", **put("text", 3))
        self.check("modality", "feature.put", code=RESOURCE_EXHAUSTED, **put("image", 3))


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


class Databases(ProgramCase):
    """A data directory that cannot be used: a sentence, the right exit code, and nothing is damaged."""

    def filled(self):
        server = self.daemon().start()
        shop.put_items(server.json(), 5)
        shop.put_events(server.json(), "u", [1, 2])
        server.stop()
        return server

    def check_start(self, server, codes, *words):
        server.start(wait=False)
        code = server.wait()
        self.assertIn(code, codes, server.log_text())
        errors = [line for line in server.log if line.get("level") == "error"]
        self.assertEqual(len(errors), 1, server.log_text())
        for word in words:
            self.assertIn(word, errors[0]["msg"])

    def test_newer_version(self):
        server = self.filled()
        path = os.path.join(server.data_dir, "shop.db")
        database = sqlite3.connect(path)
        version = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute("PRAGMA user_version = 99")
        database.close()
        before = digest(path)
        self.check_start(server, [65], path, "99")
        self.check(run(RECSYSD, "--data-dir", server.data_dir, "--check-db"), 65, "99")
        self.assertEqual(digest(path), before)
        database = sqlite3.connect(path)
        database.execute("PRAGMA user_version = %d" % version)
        database.close()
        server.start()
        self.assertEqual(server.json().call("status")["events"], "2")
        server.stop()

    def test_file_that_is_no_database(self):
        server = self.daemon()
        os.mkdir(server.data_dir)
        path = os.path.join(server.data_dir, "shop.db")
        letter, half = b"this is a letter, not a database\n" * 300, b"SQLite format 3\0" + b"\xff" * 4096
        for content in (letter, b"\0" * 8192, half):
            with open(path, "wb") as out:
                out.write(content)
            before = digest(path)
            self.check_start(server, [65], path)
            self.assertEqual(digest(path), before)

    def test_database_of_another_program(self):
        server = self.daemon()
        os.mkdir(server.data_dir)
        path = os.path.join(server.data_dir, "shop.db")
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE letters(text)")
        database.close()
        before = digest(path)
        self.check_start(server, [65], path)
        self.assertEqual(digest(path), before)

    def test_damaged_database(self):
        server = self.filled()
        path = os.path.join(server.data_dir, "shop.db")
        with open(path, "r+b") as file:
            file.seek(8192)
            file.write(b"\xa5" * 20000)
        self.check(run(RECSYSD, "--data-dir", server.data_dir, "--check-db"), 65, path)

    def test_check_db(self):
        server = self.filled()
        done = run(RECSYSD, "--data-dir", server.data_dir, "--check-db")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.check(run(RECSYSD, "--data-dir", self.directory(), "--check-db"), 66)

    def as_nobody(self, server):
        """Root may write anywhere: a copy of the program, run by a user who may not."""
        nobody = pwd.getpwnam("nobody")
        program = os.path.join(server.directory, "recsysd")
        shutil.copy(RECSYSD, program)
        os.chmod(server.directory, 0o755)

        def become_nobody():
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            die_with_parent()
        sockets = self.directory()
        os.chmod(sockets, 0o777)
        other = self.daemon(server.directory, program=program, preexec=become_nobody)
        other.command[other.command.index("--listen") + 1] = "ipc://%s/s" % sockets
        return other

    def test_read_only_directory(self):
        server = self.filled()
        path = os.path.join(server.data_dir, "shop.db")
        before, entries = digest(path), sorted(os.listdir(server.data_dir))
        other = self.as_nobody(server) if os.geteuid() == 0 else server
        os.chmod(server.data_dir, 0o555)
        self.check_start(other, range(69, 78), server.data_dir)
        self.assertEqual((digest(path), sorted(os.listdir(server.data_dir))), (before, entries))
        os.chmod(server.data_dir, 0o700)
        server.start()
        self.assertEqual(server.json().call("status")["events"], "2")
        server.stop()

    @unittest.skipUnless(os.path.exists("/proc/self"), "needs /proc")
    def test_directory_that_cannot_be_made(self):
        server = self.daemon()
        server.command[server.command.index("--data-dir") + 1] = "/proc/shop"
        self.check_start(server, range(69, 78), "/proc/shop")

    def test_data_directory_that_is_a_file(self):
        server = self.daemon()
        with open(server.data_dir, "w", encoding="ascii"):
            pass
        self.check_start(server, range(69, 78), server.data_dir)


class FullDisk(ProgramCase):
    def small_disk(self, size):
        path = self.directory()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%s" % size, "tmpfs", path],
                                               stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("only root can mount a small disk")
        self.addCleanup(subprocess.run, ["umount", "-l", path])
        return path

    def fill_up(self, path):
        """A file that leaves no block free."""
        name = os.path.join(path, "ballast")
        with open(name, "ab", buffering=0) as out:
            try:
                while True:
                    out.write(b"x" * 4096)
            except OSError:
                return name

    def test_full_while_writing(self):
        server = self.daemon(self.small_disk("3m"), http=True).start()
        client = server.json()
        shop.put_items(client, 20)
        shop.put_events(client, "u", [1, 2])
        acknowledged = 2
        error = None
        for i in range(2000):
            try:
                acknowledged += client.call("event.add", cascade_create=True, events=[
                    {"user": "u%d-%d" % (i, k), "item": "i0001"} for k in range(100)])["added"]
            except RpcError as caught:
                error = caught
                break
        self.assertIsNotNone(error, "the disk never became full")
        self.assertEqual((error.code, error.reason), (RESOURCE_EXHAUSTED, "DISK_FULL"))
        self.assertGreater(error.retry_after_ms, 0)
        # lists are still served, and the failure is told; the state may change back once a smaller write has found room
        self.assertEqual(len(client.call("recommend", user="u", n=5)["items"]), 5)
        server.wait_for("store_read_only")
        self.assertGreaterEqual(server.metric("recsysd_store_errors_total"), 1)
        self.assertEqual(client.call("status")["events"], str(acknowledged))
        server.kill()
        subprocess.run(["mount", "-o", "remount,size=30m", server.directory], check=True)
        server.start()
        client = server.json()
        self.assertEqual(client.call("status")["events"], str(acknowledged))
        shop.put_events(client, "u", [3])
        server.stop()
        self.assertEqual(run(RECSYSD, "--data-dir", server.data_dir, "--check-db").returncode, 0)

    def test_writes_again_once_there_is_room(self):
        server = self.daemon(self.small_disk("8m")).start()
        client = server.json()
        shop.put_items(client, 20)
        ballast = self.fill_up(server.directory)
        error = None
        for i in range(200):
            try:
                shop.put_events(client, "u%d" % i, range(20))
            except RpcError as caught:
                error = caught
                break
        self.assertIsNotNone(error)
        before = client.call("status")["events"]
        os.unlink(ballast)
        shop.put_events(client, "later", [1, 2, 3])
        status = client.call("status")
        self.assertEqual((status["state"], int(status["events"])), ("ready", int(before) + 3))
        server.stop()

    def test_full_from_the_start(self):
        path = self.small_disk("1m")
        self.fill_up(path)
        server = self.daemon(path)
        server.start(wait=False)
        self.assertIn(server.wait(), range(69, 78), server.log_text())
        self.assertRegex(server.log_text(), "(?i)no space|disk is full")


class Import(ProgramCase):
    """A file that cannot be read right: told with its place, exit code 65, and nothing of any file is stored."""
    ITEMS = 20

    def setUp(self):
        self.server = self.daemon().start()
        self.files = self.directory()
        self.items, self.inter, self.npy = (os.path.join(self.files, "shop." + end) for end in ("item", "inter", "npy"))
        shop.write_items(self.items, self.ITEMS)
        shop.write_inter(self.inter, [("u", shop.item_name(i), 1700000000 + i) for i in range(self.ITEMS)])
        shop.write_npy(self.npy, self.ITEMS, 4)

    def tearDown(self):
        self.server.stop()

    def import_all(self):
        return self.server.ctl("import", "--items", self.items, "--feature", "text=" + self.npy, "--inter", self.inter)

    def check_refused(self, *words):
        self.check(self.import_all(), 65, *words)
        status = self.server.json().call("status")
        self.assertEqual((status["items"], status["events"], status["users"], status["features"]),
                         ("0", "0", "0", []))

    def test_good_files(self):
        """So that the refusals below have one reason each."""
        done = self.import_all()
        self.assertEqual(done.returncode, 0, done.stderr)
        status = self.server.json().call("status")
        self.assertEqual((status["items"], status["events"], status["features"][0]["items"]),
                         (str(self.ITEMS), str(self.ITEMS), str(self.ITEMS)))

    def test_npy_in_fortran_order(self):
        shop.write_npy(self.npy, self.ITEMS, 4, fortran="True")
        self.check_refused(self.npy, "Fortran")

    def test_npy_of_objects(self):
        shop.write_npy(self.npy, self.ITEMS, 4, descr="'|O'")
        self.check_refused(self.npy, "|O")

    def test_npy_truncated(self):
        shop.write_npy(self.npy, self.ITEMS, 4, cut=7)
        size = os.path.getsize(self.npy)
        self.check_refused(self.npy, str(size), str(size + 7))

    def test_npy_cut_in_its_header(self):
        with open(self.npy, "r+b") as file:
            file.truncate(40)
        self.check_refused(self.npy, "40 bytes")

    def test_npy_with_wrong_row_count(self):
        shop.write_npy(self.npy, self.ITEMS - 1, 4)
        self.check_refused(self.npy, "19 rows", self.items, "20 items")

    def test_npy_of_one_dimension(self):
        with open(self.npy, "r+b") as file:
            text = file.read().replace(b"(20, 4), ", b"(80,),   ")
            file.seek(0)
            file.write(text)
        self.check_refused(self.npy, "1 dimension")

    def test_inter_without_header(self):
        shop.write_inter(self.inter, [("u", "i0001", 1700000000)] * 3, header="")
        self.check_refused(self.inter, "line 1", "header")

    def test_inter_with_missing_column(self):
        shop.write_inter(self.inter, [("u", "i0001")] * 3, header="user_id:token\titem_id:token")
        self.check_refused(self.inter, "timestamp")

    def test_inter_that_is_empty(self):
        with open(self.inter, "w", encoding="ascii"):
            pass
        self.check_refused(self.inter, "empty")

    def test_file_that_is_not_there(self):
        self.inter += ".none"
        self.check(self.import_all(), 66, self.inter)

    def test_bad_rows_are_told_by_line_and_left_out(self):
        rows = [("u", "i0001", 1700000000), ("u", "i0002", "soon"), ("u", "i0003"), ("u", "i0004", 1700000001)]
        shop.write_inter(self.inter, rows)
        done = self.import_all()
        self.assertIn(self.inter + ":3: ", done.stderr)
        self.assertIn(self.inter + ":4: ", done.stderr)
        self.assertEqual(self.server.json().call("status")["events"], "2")

    def test_bad_vectors_are_told_by_row_and_left_out(self):
        with open(self.npy, "r+b") as file:
            file.seek(-16, os.SEEK_END)
            file.write(struct.pack("<4f", 0, 0, 0, 0))
        done = self.import_all()
        self.assertIn("%s: row 19" % self.npy, done.stderr)
        self.assertEqual(self.server.json().call("status")["features"][0]["items"], "19")

    def test_dry_run_sends_nothing(self):
        done = self.server.ctl("import", "--dry-run", "--items", self.items, "--inter", self.inter)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.server.json().call("status")["items"], "0")


class CommandLine(ProgramCase):
    def test_version_and_help(self):
        for program in (RECSYSD, RECSYSCTL):
            for option in ("--version", "--help"):
                done = run(program, option)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertNotEqual(done.stdout, "")

    def test_usage(self):
        for program, arguments in ((RECSYSD, ["--no-such-option"]), (RECSYSD, ["word"]), (RECSYSCTL, ["recomend"]),
                                   (RECSYSCTL, []), (RECSYSCTL, ["rank", "u1"])):
            self.check(run(program, *arguments), 64)

    def test_nobody_answers(self):
        endpoint = "ipc://%s/none" % self.directory()
        self.check(run(RECSYSCTL, "--endpoint", endpoint, "--timeout", "200", "status"), 69, endpoint[6:])

    def test_a_walk_through_the_commands(self):
        server = self.daemon().start()
        self.assertEqual(server.ctl("ping").returncode, 0)
        self.assertEqual(server.ctl("item", "put", "i1", "--title", "Lamp", "--price", "9.5").returncode, 0)
        self.assertEqual(server.ctl("event", "add", "--user", "u", "--item", "i2", "--create").returncode, 0)
        self.assertEqual(shop.names(server.ctl_json("recommend", "u", "-n", "5")), ["i1"])
        self.assertEqual(sorted(shop.names(server.ctl_json("rank", "u", "i1", "i2"))), ["i1", "i2"])
        self.assertEqual(server.ctl_json("user", "history", "u")["total"], "1")
        self.assertEqual(server.ctl("item", "get", "i3").returncode, 66)
        self.assertEqual(server.ctl("item", "delete", "i1").returncode, 0)
        self.assertEqual(shop.names(server.ctl_json("recommend", "u")), [])
        self.assertEqual(server.ctl_json("status")["events"], "1")
        server.stop()


if __name__ == "__main__":
    unittest.main()
