# SPDX-License-Identifier: Apache-2.0
"""Train and evaluate every variant of every set, one result file each, and write the report. What is there is not made
again, so an interrupted run goes on where it was; models that were being fitted resume from their checkpoints."""
import argparse
import fcntl
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import time

import plan
import report
import shops
from shops import Failed, daemon, read_json, sha256_of, write_json

TRAIN = os.path.join(daemon.BUILD, "recsys-train")
OPTIONS = os.path.join(daemon.ROOT, "etc", "train")


def duration(seconds):
    if seconds < 90:
        return "%.0f s" % seconds
    minutes = round(seconds / 60)
    return "%d min" % minutes if minutes < 90 else "%d h %02d min" % divmod(minutes, 60)


def say(text):
    print(text, flush=True)


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def training_of(model_path):
    """What the trainer wrote about itself: the metadata "training" of a safetensors file."""
    with open(model_path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    return json.loads(header.get("__metadata__", {}).get("training", "null"))


def last_line(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file.read().replace("\r", "\n").split("\n") if line.strip()]
    return lines[-1] if lines else "no message"


class Run:
    """All of `make quality`."""

    def __init__(self, options):
        self.options = options
        self.results_dir, self.models_dir, self.shops_dir = (
            os.path.join(options.build, name) for name in ("results", "models", "shops"))
        for directory in (self.results_dir, self.models_dir, self.shops_dir):
            os.makedirs(directory, exist_ok=True)
        self.lock = open(os.path.join(options.build, "lock"), "w", encoding="ascii")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failed("another run is at work in '%s'" % options.build) from None
        self.train = self.copy_of_program()
        self.program = sha256_of(self.train)
        self.version = daemon.run(self.train, "--version").stdout.strip().replace("\n", ", ")
        self.shops, self.failed = {}, set()
        self.measured = []  # (job, seconds) of what was made now

    def copy_of_program(self):
        """A run takes hours: it should not notice that somebody builds meanwhile."""
        path = os.path.join(self.options.build, "recsys-train")
        shutil.copy2(TRAIN, path + ".new")
        os.replace(path + ".new", path)
        return path

    # ---- where things are

    def model(self, job):
        return os.path.join(self.models_dir, job.name + ".safetensors")

    def model_of(self, job):
        """The model that a job evaluates: its own, or that of its base."""
        return self.model(job if job.of_variant.fit is not None else job.base)

    def result(self, job, suffix=".json"):
        return os.path.join(self.results_dir, job.name + suffix)

    def shop(self, set_name):
        if set_name not in self.shops:
            self.shops[set_name] = shops.Shop(plan.SETS[set_name], self.options.data, self.shops_dir).open(say)
        return self.shops[set_name]

    # ---- what a result was made of

    def fingerprint(self, job):
        shop, options = self.shop(job.set), os.path.join(OPTIONS, job.set + ".yaml")
        return {"program": self.program, "options": sha256_of(options) if os.path.exists(options) else None,
                "position": shop.position, "source": shop.source}

    def why_stale(self, job, made):
        """What has changed since `made`, in words; empty: nothing."""
        now, then = self.fingerprint(job), made["quality"]["fingerprint"]
        words = {"program": "older than the program", "options": "of other options", "position": "of other data",
                 "source": "of other data"}
        return sorted({text for key, text in words.items() if now[key] != then.get(key)})

    def is_wanted(self, job):
        """Is the result to be made? It is kept, with a word, if it is only old."""
        made = read_json(self.result(job))
        if made is None or not os.path.exists(self.result(job, ".ranks")):
            return True
        stale = self.why_stale(job, made)
        if stale and not self.options.fresh:
            say("%s: %s; kept (FRESH=1 makes it again)" % (job.name, " and ".join(stale)))
        return bool(stale) and self.options.fresh

    # ---- one job

    def command(self, name, job, *arguments):
        threads = ["--threads", str(self.options.threads)] if self.options.threads else []
        return [self.train, name, "--data-dir", self.shop(job.set).data_dir, "--config", shops.CONFIG, "--holdout",
                job.of_set.holdout, *threads, *arguments]

    def execute(self, command, out, messages):
        """Run a program with its standard output and error in files; Failed if it fails."""
        with open(out, "w", encoding="utf-8") as stdout, open(messages, "w", encoding="utf-8") as stderr:
            process = subprocess.Popen(command, env=daemon.environment(), stdin=subprocess.DEVNULL, stdout=stdout,
                                       stderr=stderr, preexec_fn=daemon.die_with_parent)
            try:
                code = process.wait()
            except KeyboardInterrupt:  # it has got the signal too: let it write its checkpoint
                process.wait()
                raise
        if code != 0:
            raise Failed("%s ended with %d: %s (%s)" % (command[1], code, last_line(messages), messages))

    def fit_arguments(self, job):
        arguments = ["--seed", str(job.seed), *job.of_variant.fit]
        options = os.path.join(OPTIONS, job.set + ".yaml")
        if os.path.exists(options):
            arguments += ["--options", options]
        if job.base is not None:
            arguments += ["--stage-one", self.model(job.base)]
        return arguments

    def fit(self, job):
        """Fit the job's model, unless it is there, made of the same; what is to be known about the fit."""
        path, note = self.model(job), self.model(job) + ".fit.json"
        base = None if job.base is None else self.ensure_base(job)
        made_of = {**self.fingerprint(job), "base_sha256": base}
        made = read_json(note)
        if made is not None and os.path.exists(path) and made["made_of"] == made_of:
            return made
        begun = self.model(job) + ".begun.json"
        same = read_json(begun) == made_of  # if not, a checkpoint that is there was written by another program, say
        for old in (path, note, *(() if same else (path + ".checkpoint",))):
            if os.path.exists(old):
                os.remove(old)
        write_json(begun, made_of)
        resumed = os.path.exists(path + ".checkpoint")
        command = self.command("fit", job, "--out", path, *self.fit_arguments(job))
        began = time.monotonic()
        self.execute(command, path + ".out", path + ".messages")
        made = {"made_of": made_of, "seconds": round(time.monotonic() - began, 1), "resumed": resumed,
                "command": ["recsys-train"] + command[1:]}
        write_json(note, made)
        os.remove(begun)
        return made

    def ensure_base(self, job):
        """The model that `job` needs is there; its SHA-256. It has gone, perhaps, when models were tidied away."""
        if not os.path.exists(self.model(job.base)):
            self.fit(job.base)
        return sha256_of(self.model(job.base))

    def evaluate(self, job):
        ranks, out = self.result(job, ".ranks.new"), self.result(job, ".out")
        arguments = ["--model", self.model_of(job), "--mask-seen", "--ranks", ranks, "-o", "json",
                     *job.of_variant.evaluate]
        if job.variant == "full" and job.seed == self.options.seeds[0]:
            arguments += ["--ablate", "all"]
        began = time.monotonic()
        self.execute(self.command("evaluate", job, *arguments), out, self.result(job, ".messages"))
        with open(out, encoding="utf-8") as file:
            found = json.load(file)
        os.remove(out)
        return found, ranks, round(time.monotonic() - began, 1)

    def make(self, job):
        """Make one result; it, and the seconds that it took."""
        began = time.monotonic()
        fit = None if job.of_variant.fit is None else self.fit(job)
        base_sha256 = None if job.base is None else self.ensure_base(job)
        found, ranks, evaluate_s = self.evaluate(job)
        model = self.model_of(job)
        found["quality"] = {
            "set": job.set, "seed": job.seed, "variant": job.variant, "fingerprint": self.fingerprint(job),
            "fit": fit and {key: fit[key] for key in ("seconds", "resumed", "command")}, "evaluate_seconds": evaluate_s,
            "model_sha256": sha256_of(model), "base_sha256": base_sha256, "training": training_of(model),
            "machine": {"version": self.version, "processor": processor(), "cores": os.cpu_count(),
                        "blas": self.shop(job.set).blas, "kernel": platform.release()}}
        os.replace(ranks, self.result(job, ".ranks"))
        write_json(self.result(job), found)
        return found, time.monotonic() - began

    # ---- all of them

    def seconds_left(self, jobs):
        """From guesses, set right by what was measured: on the same set, or else on any."""
        def ratio(measured):
            return sum(seconds for _, seconds in measured) / sum(job.guess_s for job, _ in measured)
        left = 0.0
        for job in jobs:
            measured = [m for m in self.measured if m[0].set == job.set] or self.measured
            left += job.guess_s * (ratio(measured) if measured else 1)
        return left

    def with_shops(self, jobs):
        """Those whose set could be imported."""
        missing = set()
        for name in sorted({job.set for job in jobs}, key=list(plan.SETS).index):
            try:
                self.shop(name)
            except (Failed, OSError) as error:
                say("%s: FAILED: %s" % (name, error))
                missing.add(name)
        self.failed |= {job for job in jobs if job.set in missing}
        return [job for job in jobs if job.set not in missing]

    def run(self, jobs):
        wanted = [job for job in self.with_shops(jobs) if self.is_wanted(job)]
        say("%d results: %d to make, about %s" % (len(jobs), len(wanted), duration(self.seconds_left(wanted))))
        for number, job in enumerate(wanted):
            head = "[%*d/%d] %s: " % (len(str(len(wanted))), number + 1, len(wanted), job.name)
            if job.base in self.failed:
                self.fail(job, "%s is not there" % job.base.name, head)
                continue
            try:
                found, seconds = self.make(job)
            except (Failed, OSError, ValueError, KeyError) as error:
                self.fail(job, error, head)
                continue
            self.measured.append((job, seconds))
            left = self.seconds_left(wanted[number + 1:])
            say("%sNDCG@10 %s, HR@10 %s, %s%s" % (head, report.four(found["model"]["ndcg@10"]),
                                                  report.four(found["model"]["hr@10"]), duration(seconds),
                                                  "; %s left" % duration(left) if left else ""))

    def fail(self, job, error, head):
        self.failed.add(job)
        say("%sFAILED: %s" % (head, error))


def words_of(known, what):
    def parse(text):
        words = text.replace(",", " ").split()
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError("unknown %s '%s' (%s)" % (what, word, ", ".join(known)))
        return words
    return parse


def seeds(text):
    return [int(word) for word in text.replace(",", " ").split()]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=words_of(plan.SETS, "set"), default=list(plan.SETS))
    parser.add_argument("--seeds", type=seeds, default=[1, 2, 3])
    parser.add_argument("--variants", type=words_of(plan.VARIANTS, "variant"), default=plan.default_variants())
    parser.add_argument("--data", default=os.path.join(daemon.ROOT, "..", "shared", "data"), help="where the sets are")
    parser.add_argument("--build", default=os.path.join(daemon.ROOT, "build", "quality"), help="where results go")
    parser.add_argument("--threads", type=int, help="of recsys-train; default: one per core")
    parser.add_argument("--fresh", action="store_true", help="make what is older than the program again")
    options = parser.parse_args()
    for name in ("sets", "seeds", "variants"):
        if not getattr(options, name):
            parser.error("--%s: empty" % name)
    options.data, options.build = os.path.abspath(options.data), os.path.abspath(options.build)
    return options


def main():
    options = arguments()
    try:
        run = Run(options)
    except (Failed, OSError) as error:
        sys.exit("quality: %s" % error)
    out = os.path.join(os.path.dirname(options.build), "quality.md")
    try:
        run.run(plan.jobs(options.sets, options.seeds, options.variants))
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        return 130
    finally:
        report.write(run.results_dir, options.data, out)
    say("%s%s" % (os.path.relpath(out), "; %d failed" % len(run.failed) if run.failed else ""))
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
