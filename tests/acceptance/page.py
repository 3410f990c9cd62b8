# SPDX-License-Identifier: Apache-2.0
"""The page of a real user of a real shop, with a trained model: made by recsysctl, opened in Chromium, each number on it held against the reply. Leaves
build/page.html and build/page.png to look at."""
import argparse
import math
import os
import shutil
import tempfile

import sets
import daemon
import test_why_page

PAGE, PICTURE = (os.path.join(daemon.ROOT, "build", "page." + ending) for ending in ("html", "png"))


def faults_of(text, reply):
    """What on the page is not as in the reply."""
    page, faults = test_why_page.Page(text), []
    if set(page.scores) != {item["item"] for item in reply["items"]}:
        faults.append("the items are others")
    for item in reply["items"]:
        name, wanted, found = item["item"], test_why_page.terms_of(item), page.cells[item["item"]]
        if set(wanted) != set(found):
            faults.append("%s: other cells" % name)
        faults += ["%s %s: %r, not %r" % (name, key, found[key], value) for key, value in wanted.items()
                   if not math.isclose(found[key], value, rel_tol=1e-6, abs_tol=1e-8)]
        if abs(sum(page.totals[name]) - item["score"]) > 1e-4:
            faults.append("%s: the total is not the score" % name)
    return faults, sum(len(cells) for cells in page.cells.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", default="scientific-clip")
    parser.add_argument("--user", default="u7")
    parser.add_argument("--model", metavar="FILE", help="a trained model; without one it is trained in a hurry")
    parser.add_argument("--data", default=sets.DATA)
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed")
    with tempfile.TemporaryDirectory(prefix="recsysd-") as home:
        server = daemon.Daemon(home, settings=sets.SETTINGS)
        try:
            client = sets.open_shop(server, os.path.join(options.data, options.set))
            known = client.call("user.history", user=options.user, n=1)["known"]
            user = options.user if known else options.user.lstrip("u")
            client.call("model.activate", name=sets.put_model(server, options.model or sets.train(server)))
            reply = server.ctl_json("recommend", user, "-n", "5", "--explain", "--funnel", "--html", PAGE)
        finally:
            server.kill()
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=" + os.path.join(home, "profile")]
        shown = daemon.run(*command, "--dump-dom", "file://" + PAGE, env={"HOME": home}, timeout=120)
        daemon.run(*command, "--screenshot=" + PICTURE, "--window-size=1280,2400", "file://" + PAGE, env={"HOME": home}, timeout=120)
    faults, cells = faults_of(shown.stdout, reply)
    print("user %s of %s: %d items, %d cells as in the reply, %d not; %s" % (user, options.set, len(reply["items"]), cells, len(faults), PICTURE))
    raise SystemExit("\n".join(faults[:20]) if faults else 0)


if __name__ == "__main__":
    main()
