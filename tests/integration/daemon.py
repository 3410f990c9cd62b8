# SPDX-License-Identifier: Apache-2.0
"""The real daemon as a process, and clients for its sockets."""
import ctypes
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import zmq

import protobuf

ROOT = protobuf.ROOT
BUILD = os.path.abspath(os.path.join(ROOT, os.environ.get("RECSYSD_BUILD", "build/release")))
RECSYSD = os.path.join(BUILD, "recsysd")
RECSYSCTL = os.path.join(BUILD, "recsysctl")
PATIENCE_S = 30  # after this long a test has failed; nothing that works takes a fraction of it

INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED = 3, 4, 5, 8
FAILED_PRECONDITION, UNIMPLEMENTED = 9, 12

LIBC = ctypes.CDLL(None)
CONTEXT = zmq.Context()


def die_with_parent():
    PR_SET_PDEATHSIG = 1
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def environment(extra=None):
    """Without what the caller may have set for a daemon of their own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RECSYSD__", "RECSYSCTL_", "OPENBLAS_NUM"))}
    env.update(extra or {})
    return env


def run(program, *arguments, env=None, timeout=PATIENCE_S, **more):
    """A program that ends by itself: CompletedProcess with text output."""
    return subprocess.run([program, *arguments], env=environment(env), timeout=timeout, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=more.pop("preexec_fn", die_with_parent), **more)


class RpcError(Exception):
    def __init__(self, code, message, reason="", field="", retry_after_ms=0, request_id=None):
        super().__init__("%s %s [%s] %s" % (code, reason, field, message))
        self.code, self.message, self.reason, self.field = code, message, reason, field
        self.retry_after_ms, self.request_id = retry_after_ms, request_id


class Peer:
    """A socket of a client; frames go in and out as they are."""

    def __init__(self, endpoint, kind=zmq.DEALER):
        self.socket = CONTEXT.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVHWM, 0)  # a peer that reads, however much comes
        self.socket.setsockopt(zmq.RCVTIMEO, PATIENCE_S * 1000)
        self.socket.setsockopt(zmq.SNDTIMEO, PATIENCE_S * 1000)
        self.socket.connect(endpoint)
        self.numbers = itertools.count(1)

    def send(self, *frames):
        self.socket.send_multipart(frames)

    def receive(self):
        return self.socket.recv_multipart()

    def close(self):
        self.socket.close()


class JsonClient(Peer):
    def send_call(self, method, params=None, request_id=None):
        request_id = next(self.numbers) if request_id is None else request_id
        call = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}
        self.send(json.dumps(call).encode())
        return request_id

    def receive_reply(self):
        """(id, result, RpcError or None)"""
        frames = self.receive()
        reply = json.loads(frames[-1])
        assert len(frames) == 1 and reply["jsonrpc"] == "2.0", frames
        return reply["id"], reply.get("result"), json_error(reply)

    def call(self, method, **params):
        request_id = self.send_call(method, params)
        answered, result, error = self.receive_reply()
        assert answered == request_id, (answered, request_id)
        if error is not None:
            raise error
        return result


def json_error(reply):
    error = reply.get("error")
    if error is None:
        return None
    return RpcError(error["code"], error["message"], request_id=reply["id"], **error["data"])


class ProtobufClient(Peer):
    def send_call(self, method, params=None, attachments=(), **header):
        header = {"version": 1, "method": method, "request_id": next(self.numbers), **header}
        request, _ = message_names(method)
        self.send(protobuf.encode("RequestHeader", header), protobuf.encode(request, params or {}), *attachments)
        return header["request_id"]

    def receive_reply(self, method):
        """(id, reply, RpcError or None)"""
        frames = self.receive()
        assert len(frames) == 2, frames
        header = protobuf.decode("ReplyHeader", frames[0])
        assert header["version"] == 1
        if header["code"] == 0:
            return header["request_id"], protobuf.decode(message_names(method)[1], frames[1]), None
        assert frames[1] == b"", frames
        return header["request_id"], None, header_error(header)

    def call(self, method, attachments=(), timeout_ms=0, idempotency_key="", **params):
        request_id = self.send_call(method, params, attachments, timeout_ms=timeout_ms,
                                    idempotency_key=idempotency_key)
        answered, reply, error = self.receive_reply(method)
        assert answered == request_id, (answered, request_id)
        if error is not None:
            raise error
        return reply


def header_error(header):
    return RpcError(header["code"], header["message"], header["reason"], header["field"], header["retry_after_ms"],
                    header["request_id"])


def message_names(method):
    """"event.add" -> EventAddRequest, EventAddReply; the three lists share their reply."""
    name = "".join(word.capitalize() for word in method.split("."))
    return name + "Request", name + "Reply" if name + "Reply" in protobuf.SCHEMA else "RankedList"


class Daemon:
    """recsysd on a data directory. `settings` as {"server.workers": 1}; `http` False for none."""

    def __init__(self, directory, http=False, settings=None, arguments=(), program=RECSYSD, env=None, preexec=None):
        self.directory, self.endpoint = directory, "ipc://%s/s" % directory
        self.data_dir = os.path.join(directory, "shop")
        self.command = [program, "--data-dir", self.data_dir, "--listen", self.endpoint, "--http",
                        "127.0.0.1:0" if http else "off", "--set", "log.format=json", *arguments]
        for key, value in (settings or {}).items():
            self.command += ["--set", "%s=%s" % (key, value)]
        self.env, self.preexec = environment(env), preexec or die_with_parent
        self.process = self.reader = self.http_port = None
        self.log, self.changed = [], threading.Condition()
        self.peers = []

    # ---- the process

    def start(self, wait=True):
        self.log = []
        self.process = subprocess.Popen(self.command, env=self.env, stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, preexec_fn=self.preexec)
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()
        if wait:
            self.wait_for("ready")
            for line in self.log:
                port = re.search(r"^http on .*, port (\d+)$", line.get("msg", ""))
                self.http_port = int(port.group(1)) if port else self.http_port
        return self

    def read_log(self):
        for text in self.process.stderr:
            try:
                line = json.loads(text)
            except ValueError:  # a sanitizer's report, or a usage message
                line = {"event": "", "msg": text}
            with self.changed:
                self.log.append(line)
                self.changed.notify_all()
        with self.changed:
            self.log.append({"event": "end of log"})
            self.changed.notify_all()

    def wait_for(self, event):
        """The first log line of that event."""
        def found():
            return next((line for line in self.log if line["event"] in (event, "end of log")), None)
        with self.changed:
            line = self.changed.wait_for(found, PATIENCE_S)
        if line is None or line["event"] != event:
            raise AssertionError("no '%s' in the log:\n%s" % (event, self.log_text()))
        return line

    def log_text(self):
        return "\n".join(json.dumps(line) for line in self.log)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        """The exit code."""
        code = self.process.wait(PATIENCE_S)
        self.reader.join(PATIENCE_S)
        self.process.stderr.close()
        self.process = None
        return code

    def stop(self):
        """SIGTERM; a daemon that does not end with 0 has failed."""
        if self.process is None:
            return
        self.terminate()
        code = self.wait()
        if code != 0:
            raise AssertionError("recsysd ended with %s:\n%s" % (code, self.log_text()))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.wait()

    def close(self):
        for peer in self.peers:
            peer.close()
        self.peers = []
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.wait()

    # ---- its clients

    def keep(self, peer):
        self.peers.append(peer)
        return peer

    def json(self):
        return self.keep(JsonClient(self.endpoint))

    def protobuf(self):
        return self.keep(ProtobufClient(self.endpoint))

    def peer(self, kind=zmq.DEALER):
        return self.keep(Peer(self.endpoint, kind))

    def http(self, method, path, body=None, headers=None):
        """(status, headers, body text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def rpc(self, call, headers=None):
        """POST /rpc: (status, reply)"""
        body = call if isinstance(call, (str, bytes)) else json.dumps(call)
        status, _, text = self.http("POST", "/rpc", body, {"Content-Type": "application/json", **(headers or {})})
        return status, json.loads(text)

    def metric(self, name):
        """One sample of /metrics, 0 where there is none: 'recsysd_requests_total{method="ping",code="ok"}'."""
        for line in self.http("GET", "/metrics")[2].splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def ctl(self, *arguments):
        return run(RECSYSCTL, "--endpoint", self.endpoint, *arguments)

    def ctl_json(self, *arguments):
        done = self.ctl("-o", "json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def until(condition, what):
    """Poll for something that happens in the background; its value."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError("never happened: " + what)


class TestCase(unittest.TestCase):
    """Temporary directories, and daemons that do not outlive the test."""

    def directory(self):
        path = tempfile.mkdtemp(prefix="recsysd-")
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def daemon(self, directory=None, **options):
        daemon = Daemon(directory or self.directory(), **options)
        self.addCleanup(daemon.close)
        return daemon

    def refused(self, code, call, *arguments, **params):
        """Make a call that must fail with `code`; the error."""
        with self.assertRaises(RpcError) as caught:
            call(*arguments, **params)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception


class SharedDaemon(TestCase):
    """One daemon for all tests of a class, which must therefore not see each other's users and items."""
    settings = {}
    http = False

    @classmethod
    def setUpClass(cls):
        directory = tempfile.mkdtemp(prefix="recsysd-")
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        cls.server = Daemon(directory, http=cls.http, settings=cls.settings)
        cls.addClassCleanup(cls.server.close)
        cls.server.start()
        cls.client, cls.pb = cls.server.json(), cls.server.protobuf()
        cls.fill(cls.client)

    @classmethod
    def fill(cls, client):
        """What the tests of the class find in the shop."""

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()  # every class also is a test of a clean end
