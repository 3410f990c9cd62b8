# SPDX-License-Identifier: Apache-2.0
"""The sets as shops: each is imported once, through a daemon, into build/quality/shops/SET."""
import hashlib
import json
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
import daemon  # noqa: E402 (the daemon as a process, as in the integration tests)

IMPORT_TIMEOUT_S = 1800
CONFIG = os.path.join(daemon.ROOT, "etc", "recsysd.yaml")  # every default, whatever this machine has in /etc


class Failed(Exception):
    """Something could not be done; the sentence says what."""


def sha256_of(*paths):
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()


def write_json(path, value):
    """Aside, then renamed: a file that is there is whole."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.replace(path + ".new", path)


def read_json(path):
    """None where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


class Shop:
    """One set as a data directory. Its position in the log and a hash of the set's files (`source`) say what it is."""

    def __init__(self, of_set, data_dir, shops_dir):
        self.set, self.folder = of_set, os.path.join(data_dir, of_set.name)
        self.directory = os.path.join(shops_dir, of_set.name)
        self.data_dir = os.path.join(self.directory, "shop")
        self.state = None

    @property
    def position(self):
        return self.state["position"]

    @property
    def source(self):
        return self.state["source"]

    @property
    def blas(self):
        return self.state["blas"]

    def file(self, name):
        return os.path.join(self.folder, name)

    def files(self):
        """Of the set, as it has them."""
        paths = [self.file(self.set.name + ".item"), self.file(self.set.name + ".inter")]
        for modality in self.set.modalities:
            paths.append(self.file(modality + "_feat.npy"))
            ids = self.file(modality + "_feat.ids")
            paths += [ids] if os.path.exists(ids) else []
        for path in paths:
            if not os.path.exists(path):
                raise Failed("'%s' is not there; say where the sets are with DATA=DIR" % path)
        return paths

    def open(self, say):
        """Import the set, unless that has been done with the same files."""
        source = sha256_of(*self.files())
        self.state = read_json(os.path.join(self.directory, "imported.json"))
        if self.state is None or self.state["source"] != source:
            self.state = self.import_set(source)
            say("%s: imported, %s events of %s users, %s items" % (
                self.set.name, self.state["events"], self.state["users"], self.state["items"]))
        return self

    def import_set(self, source):
        aside = self.directory + ".new"
        shutil.rmtree(aside, ignore_errors=True)
        os.makedirs(aside)
        # the socket is elsewhere: its path has at most 107 bytes, and where the project lies may be deep
        socket_dir = tempfile.mkdtemp(prefix="recsysd-quality-")
        server = daemon.Daemon(socket_dir, settings={"storage.durability": "normal"},
                               arguments=("--data-dir", os.path.join(aside, "shop"), "--config", CONFIG))
        try:
            server.start()
            self.run_import(server)
            state = self.describe(server, source)
            server.stop()
        except AssertionError as error:  # what the harness says of a daemon that does not start, or not end
            raise Failed("%s: %s" % (self.set.name, error)) from None
        finally:
            server.close()
            shutil.rmtree(socket_dir, ignore_errors=True)
        write_json(os.path.join(aside, "imported.json"), state)
        shutil.rmtree(self.directory, ignore_errors=True)
        os.rename(aside, self.directory)
        return state

    def run_import(self, server):
        features = [argument for modality in self.set.modalities
                    for argument in ("--feature", "%s=%s" % (modality, self.file(modality + "_feat.npy")))]
        done = daemon.run(daemon.RECSYSCTL, "--endpoint", server.endpoint, "-q", "import", "--strict", "--items",
                          self.file(self.set.name + ".item"), *features, "--inter", self.file(self.set.name + ".inter"),
                          timeout=IMPORT_TIMEOUT_S)
        if done.returncode != 0:
            raise Failed("%s: import ended with %d: %s" % (self.set.name, done.returncode, done.stderr.strip()))

    @staticmethod
    def describe(server, source):
        status, info = server.ctl_json("status"), server.ctl_json("info")
        return {"source": source, "position": status["seq"], "users": status["users"], "items": status["items"],
                "events": status["events"], "blas": info["libraries"]["blas"]}
