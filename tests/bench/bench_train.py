# SPDX-License-Identifier: Apache-2.0
"""An epoch of stage one: recsys-train against the same network in PyTorch, same options, same threads, in one run.

    bench_train.py [--set NAME]... [--threads N] [--data DIR] [--epochs N] [--require RATIO]

Sets are imported as tests/quality does it, and trained with etc/train/NAME.yaml where that is. Of each side the fastest
epoch counts, without validation. The table also goes to build/bench-train.md. Ends with 1 when a ratio is below what is
required."""
import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
for folder in ("quality", "golden"):
    sys.path.append(os.path.join(TESTS, folder))
import plan  # noqa: E402
import shops  # noqa: E402
from shops import Failed, daemon  # noqa: E402

TRAIN = os.path.join(daemon.BUILD, "recsys-train")
SHOPS = os.path.join(daemon.ROOT, "build", "quality", "shops")
REPORT = os.path.join(daemon.ROOT, "build", "bench-train.md")
BEHAVIOUR = "view"  # what an import without such a column calls its events
CORE_TYPE = ("import ctypes, sys; f = ctypes.CDLL(sys.argv[1]).openblas_get_corename; "
             "f.restype = ctypes.c_char_p; print(f().decode())")

Result = collections.namedtuple("Result", "name events ours theirs our_loss their_loss block blas_threads")


def say(text):
    print(text, flush=True)


def our_core_type():
    """Of the BLAS that recsys-train is linked with, asked in a process of its own."""
    linked = subprocess.run(["ldd", TRAIN], stdout=subprocess.PIPE, text=True, check=True).stdout
    path = re.search(r"=> (\S*libopenblas\S*)", linked)
    if path is None:
        return "no OpenBLAS"
    done = subprocess.run([sys.executable, "-c", CORE_TYPE, path.group(1)], stdout=subprocess.PIPE, text=True, check=True,
                          env=daemon.environment())
    return done.stdout.strip()


# ---- recsys-train

def fit(shop, threads, epochs, directory):
    """The model's path, and the records of its stage one."""
    model = os.path.join(directory, shop.set.name + ".safetensors")
    options = os.path.join(daemon.ROOT, "etc", "train", shop.set.name + ".yaml")
    command = [TRAIN, "fit", "-q", "--config", shops.CONFIG, "--data-dir", shop.data_dir, "--out", model,
               "--holdout", "leave-one-out", "--seed", "1", "--threads", str(threads)]
    command += ["--options", options] if os.path.exists(options) else []
    command += ["--set", "epochs=%d" % epochs, "--set", "patience=0", "--set", "head_epochs=1"]
    done = subprocess.run(command, env=daemon.environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed("%s: fit ended with %d: %s" % (shop.set.name, done.returncode, done.stderr.strip()))
    with open(model + ".ndjson", encoding="utf-8") as log:
        records = [json.loads(line) for line in log]
    return model, [record for record in records if record.get("stage") == 1]


def our_seconds(records, events):
    """Of the fastest epoch, training alone."""
    return min(events / record["events_per_second"] if "events_per_second" in record else record["seconds"]
               for record in records)


# ---- PyTorch

def read_logs(shop, column, behaviour, history):
    """(windows, training events): each user's events but the last two, as [(column, ts_ms, behaviour)]; of a long history
    the newest."""
    logs = collections.defaultdict(list)
    with open(shop.file(shop.set.name + ".inter"), encoding="utf-8") as file:
        next(file)
        for line in file:
            user, item, seconds = line.rstrip("\n").split("\t")[:3]
            logs[user].append((item, int(float(seconds) * 1000)))
    windows, events = [], 0
    for log in logs.values():
        training = sorted(log, key=lambda event: event[1])[:-2] if len(log) >= 3 else []
        events += len(training)
        if len(training) >= 2:
            windows.append([(column[item], ts_ms, behaviour) for item, ts_ms in training[-history - 1:]])
    return windows, events


def read_features(shop, network):
    """x~ (columns, components) of each modality, and which items have it."""
    import numpy as np
    import torch
    with open(shop.file(shop.set.name + ".item"), encoding="utf-8") as file:
        next(file)
        names = [line.split("\t")[0].rstrip("\n") for line in file]
    features, present = {}, {}
    for name, view in network.views.items():
        if view["modality"] == "id":
            continue
        ids, rows = shop.file(view["modality"] + "_feat.ids"), np.load(shop.file(view["modality"] + "_feat.npy"))
        if os.path.exists(ids):
            with open(ids, encoding="utf-8") as file:
                owners = file.read().split("\n")[:len(rows)]
        else:
            owners = names
        raw = torch.zeros(len(network.names), view["dimension"])
        for owner, row in zip(owners, rows):
            if owner in network.id_row:
                raw[network.id_row[owner]] = torch.from_numpy(row.astype(np.float32))
        present[name] = (raw != 0).any(dim=1)
        features[name] = network.components(name, raw)
    return features, present


def torch_trainer(shop, model):
    """The same network as the file `model`, on the same events, with the same options."""
    import torch
    from torch_epoch import FusedNetwork, Trainer
    network = FusedNetwork.load(model, dtype=torch.float32)
    report = network.training
    options = report["options"]
    if options["loss"] != 0 or not network.names:
        raise Failed("%s: only softmax over all items, with an embedding of each, is compared" % shop.set.name)
    behaviour = network.architecture["behaviours"].index(BEHAVIOUR)
    windows, events = read_logs(shop, network.id_row, behaviour, network.architecture["history"])
    if events != report["data"].get("training_events", events):
        raise Failed("%s: %d events here, %d in the training of recsys-train" % (shop.set.name, events,
                                                                               report["data"]["training_events"]))
    features, present = read_features(shop, network)
    return Trainer(network, windows, features, present, options, bool(report["stage_one"]["mask_seen"]))


def compare(name, arguments, directory):
    shop = shops.Shop(plan.SETS[name], arguments.data, SHOPS).open(say)
    say("%s: %d epochs of recsys-train" % (name, arguments.epochs))
    model, records = fit(shop, arguments.threads, arguments.epochs, directory)
    trainer = torch_trainer(shop, model)
    ours = our_seconds(records, trainer.events)
    say("%s: recsys-train %.2f s; choosing PyTorch's best form" % (name, ours))
    trainer.tune(arguments.threads)
    epochs = []
    for _ in range(arguments.epochs):
        epochs.append(trainer.epoch())
        say("%s: PyTorch %.2f s, loss %.4f" % (name, epochs[-1][0], epochs[-1][1]))
    return Result(name, trainer.events, ours, min(seconds for seconds, _ in epochs), records[-1]["loss"], epochs[-1][1],
                  trainer.block, trainer.blas_threads)


# ---- the table

def describe(results, arguments, ours, theirs):
    import torch
    lines = ["# An epoch of training, against PyTorch", "",
             "Stage one: encoder and sequence part, softmax over all items; %d threads each, the fastest of %d epochs, "
             "without validation." % (arguments.threads, arguments.epochs),
             "BLAS core type: recsys-train %s, PyTorch %s (%s)." % (ours, theirs, torch.__version__), "",
             "| set | targets | recsys-train, s | PyTorch, s | ratio | loss of the last epoch | rows a block, BLAS threads |",
             "|---|---|---|---|---|---|---|"]
    for r in results:
        lines.append("| %s | %d | %.2f | %.2f | **%.2f** | %.4f, %.4f | %d, %d |" % (
            r.name, r.events, r.ours, r.theirs, r.theirs / r.ours, r.our_loss, r.their_loss, r.block, r.blas_threads))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="an epoch of training against PyTorch's")
    parser.add_argument("--set", action="append", choices=list(plan.SETS), help="default: ml1m and instruments")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--data", default=os.path.join(daemon.ROOT, "..", "shared", "data"), help="where the sets are")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--require", type=float, default=2.0, help="the least ratio")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before PyTorch is there
    import torch
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    from torch_epoch import core_type
    directory = tempfile.mkdtemp(prefix="recsysd-bench-")
    try:
        results = [compare(name, arguments, directory) for name in arguments.set or ("instruments", "ml1m")]
    except Failed as error:
        print("bench-train: %s" % error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    text = describe(results, arguments, our_core_type(), core_type())
    with open(REPORT, "w", encoding="utf-8") as file:
        file.write(text)
    say("\n" + text)
    return 0 if all(r.theirs / r.ours >= arguments.require for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
