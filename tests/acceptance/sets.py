# SPDX-License-Identifier: Apache-2.0
"""What acceptance runs on real sets share: a set as a shop, its titles, and a model that was trained in a hurry or is given."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
import daemon  # noqa: E402
from daemon import until  # noqa: E402

daemon.PATIENCE_S = 600  # counting a large log may have to wait for what else the machine does

DATA = os.path.join(os.path.dirname(daemon.ROOT), "shared", "data")
CONFIG = os.path.join(daemon.ROOT, "etc", "recsysd.yaml")  # every default, whatever this machine has in /etc
TRAIN = os.path.join(daemon.BUILD, "recsys-train")
MODALITIES = ("text", "image")
QUICK = {"epochs": 2, "patience": 0, "head_epochs": 3}
SETTINGS = {"storage.durability": "normal", "server.timeout_ms": 60000}
IMPORT_TIMEOUT_S, TRAIN_TIMEOUT_S = 1800, 7200


def rows_of(folder, ending):
    """The cells of a set's table, without its head."""
    with open(os.path.join(folder, os.path.basename(folder) + ending), encoding="utf-8") as source:
        source.readline()
        for line in source:
            yield line.rstrip("\n").split("\t")


def open_shop(server, folder):
    """Start it, import the set, wait for the model and the counts; a client."""
    server.start()
    name = os.path.join(folder, os.path.basename(folder))
    features = [argument for modality in MODALITIES
                for argument in ("--feature", "%s=%s" % (modality, os.path.join(folder, modality + "_feat.npy")))]
    done = daemon.run(daemon.RECSYSCTL, "--endpoint", server.endpoint, "-q", "import", "--items", name + ".item", *features,
                      "--inter", name + ".inter", timeout=IMPORT_TIMEOUT_S)
    if done.returncode != 0:
        raise SystemExit("import of %s: %s" % (folder, done.stderr.strip()))
    client = server.json()
    until(lambda: all(feature["in_model"] for feature in client.call("status")["features"]), "a model")
    settle(client)
    return client


def settle(client, seq=None):
    """Events up to a position are counted; without one, up to about now: a model that was fitted after them has one, too. The version."""
    seq = int(client.call("status")["seq"]) - 50 if seq is None else int(seq)
    until(lambda: int(client.call("status")["counts"]) >= seq, "counts of the log")
    return client.call("status")["counts"]


def train(server, **options):
    """A model of the shop as it is, next to it; its file."""
    path = os.path.join(server.directory, "trained.safetensors")
    done = daemon.run(TRAIN, "fit", "--data-dir", server.data_dir, "--config", CONFIG, "--out", path, "--holdout", "none", "--seed", "1",
                      "-q", *("--set=%s=%s" % option for option in {**QUICK, **options}.items()), timeout=TRAIN_TIMEOUT_S)
    if done.returncode != 0:
        raise SystemExit("training: %s" % done.stderr.strip())
    return path


def put_model(server, path):
    """Its version."""
    done = daemon.run(daemon.RECSYSCTL, "--endpoint", server.endpoint, "-o", "json", "model", "put", path, "--name", "trained",
                      timeout=IMPORT_TIMEOUT_S)
    if done.returncode != 0:
        raise SystemExit("model put: %s" % done.stderr.strip())
    return json.loads(done.stdout)["version"]


def models_given(arguments):
    """["SET=FILE", ...] as a dict."""
    models = {}
    for argument in arguments or ():
        name, _, path = argument.partition("=")
        if not os.path.isfile(path):
            raise SystemExit("--model %s: SET=FILE, and the file must be there" % argument)
        models[name] = os.path.abspath(path)
    return models
