# SPDX-License-Identifier: Apache-2.0
"""recommend --explain and why: the page shows the numbers of the reply and runs nothing, also in a browser; the
terminal says the sentence."""
import collections
import html.parser
import math
import os
import shutil
import unittest

import shop
from daemon import RECSYSCTL, ROOT, SharedDaemon, run, until
from shop import item_name

ITEMS = 300  # enough for the model to read vectors
CHROMIUM = shutil.which("chromium")
BROWSER_S = 60
HOSTILE = "</script><img src=x onerror=alert(1)>"
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
NOT_OF_EVENTS = ("", "")  # event and stream of such a term


def kind_of(term):
    """What the page calls a term of no event."""
    if term.get("modality"):
        return "%s, %s" % (term["kind"], term["modality"])
    return "%s, rule %d" % (term["kind"], term["rule"]) if "rule" in term else term["kind"]


def terms_of(item):
    """{(event, stream, kind): value} of an item of a reply, added up."""
    sums = collections.Counter()
    for term in item.get("terms", []):
        stream = {"cooccurrence": "co-occurrence", "stream": term.get("stream", "")}.get(term["kind"])
        key = (term.get("event", ""), stream, "") if stream else NOT_OF_EVENTS + (kind_of(term),)
        sums[key] += term.get("value", 0)
    return sums


class Page(html.parser.HTMLParser):
    """What a program reads on the page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.cells = collections.defaultdict(collections.Counter)  # item: as terms_of
        self.scores, self.totals = collections.defaultdict(set), collections.defaultdict(set)
        self.stages, self.tags, self.names, self.policy, self.text = [], set(), set(), None, []
        self.gap, self.gap_parts = None, {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        self.names |= set(attrs)
        item = attrs.get("data-item")
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]
        if tag == "td" and "data-value" in attrs:
            key = attrs.get("data-event", ""), attrs.get("data-stream", ""), attrs.get("data-kind", "")
            self.cells[item][key] += float(attrs["data-value"])
        if "data-score" in attrs:
            self.scores[item].add(float(attrs["data-score"]))
        if "data-total" in attrs:
            self.totals[item].add(float(attrs["data-total"]))
        if "data-count" in attrs:
            self.stages.append((attrs["data-stage"], int(attrs["data-count"])))
        if "data-gap" in attrs:
            self.gap = float(attrs["data-gap"])
        if "data-gap-part" in attrs:
            self.gap_parts[attrs["data-gap-part"]] = float(attrs["data-gap-value"])

    def handle_data(self, data):
        self.text.append(data)

    def says(self):
        return " ".join(" ".join(self.text).split())


class Why(SharedDaemon):
    @classmethod
    def fill(cls, client):
        shop.put_items(client, ITEMS)
        client.call("item.put", items=[{"item": item_name(2), "title": HOSTILE}])
        shop.put_features(client, ITEMS)
        shop.put_features(client, ITEMS, "image", shop.IMAGE, tastes=lambda i: int(i >= ITEMS // 2))
        shop.wait_for_model(client)
        for n in range(20):  # what others do: i0010 is followed by i0011
            shop.put_events(client, "crowd%d" % n, [10, 11, 100 + n])
        shop.put_events(client, "u", [4, 2, 152, 10], ts=1760000000000)
        seq = client.call("status")["seq"]
        until(lambda: int(client.call("status")["counts"]) >= int(seq) - 3, "counts of these events")

    def setUp(self):
        self.path = os.path.join(self.directory(), "page.html")

    def ctl(self, *arguments):
        done = self.server.ctl(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def page(self, path=None):
        with open(path or self.path, encoding="utf-8") as file:
            return file.read()

    def assert_near(self, found, wanted, what):
        self.assertTrue(math.isclose(found, wanted, rel_tol=1e-6, abs_tol=1e-8),
                        "%s: %r, not %r" % (what, found, wanted))

    def check_harmless(self, page):
        self.assertFalse(page.tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}, page.tags)
        self.assertFalse([name for name in page.names if name.startswith("on") or name in ("src", "href")])
        self.assertEqual(page.policy, POLICY)

    def check_item(self, page, item):
        """Every cell is a term and every term a cell; totals are their sums, and the score."""
        name, wanted = item["item"], terms_of(item)
        self.assertEqual(set(page.cells[name]), set(wanted), name)
        for key, value in wanted.items():
            self.assert_near(page.cells[name][key], value, "%s %s" % (name, key))
        (total,), (score,) = page.totals[name], page.scores[name]
        self.assert_near(score, item["score"], name)
        self.assert_near(total, math.fsum(wanted.values()), name)
        self.assertAlmostEqual(total, item["score"], 4, name)

    def check_page(self, text, reply):
        page = Page(text)
        self.check_harmless(page)
        self.assertEqual(set(page.scores), {item["item"] for item in reply["items"]})
        for item in reply["items"]:
            self.check_item(page, item)
            self.assertIn(" ".join(item.get("reason", "").split()), page.says())
        self.assertEqual(page.stages, [(stage["name"], int(stage["count"])) for stage in reply["funnel"]])

    def recommend(self, *more):
        """The reply that the page was made of."""
        return self.server.ctl_json("recommend", "u", "-n", "5", "--explain", "--funnel", "--html", self.path, *more)

    # ---- the page of a list

    def test_page_shows_the_terms(self):
        reply = self.recommend()
        self.assertEqual(len(reply["items"]), 5)
        self.assertTrue(all(item.get("terms") for item in reply["items"]))
        self.assertTrue(any(event for item in reply["items"] for event, _, _ in terms_of(item)), "events add nothing")
        self.check_page(self.page(), reply)

    def test_titles_stay_text(self):
        self.recommend("-n", str(ITEMS), "--exclude-seen", "no")
        self.assertNotIn("<img", self.page())
        self.assertIn("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;", self.page())
        self.assertIn(HOSTILE, Page(self.page()).says())

    @unittest.skipUnless(CHROMIUM, "chromium is not installed")
    def test_browser_shows_the_same(self):
        reply = self.recommend()
        home = self.directory()
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000",
                   "--user-data-dir=" + os.path.join(home, "profile")]
        done = run(*command, "--dump-dom", "file://" + self.path, env={"HOME": home}, timeout=BROWSER_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_page(done.stdout, reply)
        picture = os.path.join(ROOT, "build", "why.png")
        if os.path.exists(picture):
            os.unlink(picture)
        done = run(*command, "--screenshot=" + picture, "--window-size=1280,1600", "file://" + self.path,
                   env={"HOME": home}, timeout=BROWSER_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(picture, "rb") as file:
            self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")

    def test_page_on_stdout_is_alone_there(self):
        text = self.ctl("recommend", "u", "-n", "2", "--html", "-")
        self.assertTrue(text.startswith("<!DOCTYPE html>") and text.endswith("</html>\n"))
        self.check_harmless(Page(text))

    def test_html_and_json_cannot_share_stdout(self):
        self.assertEqual(self.server.ctl("-o", "json", "recommend", "u", "--html", "-").returncode, 64)

    def test_file_that_cannot_be_written(self):
        done = self.server.ctl("recommend", "u", "--html", os.path.join(self.path, "below"))
        self.assertEqual(done.returncode, 74, done.stderr)
        self.assertIn(self.path, done.stderr)

    def test_page_of_an_item_that_is_not_listed(self):
        other = self.server.ctl_json("recommend", "u", "-n", "10")["items"][-1]["item"]
        reply = self.server.ctl_json("why", "u", other, "-n", "5", "--html", self.path)
        page = Page(self.page())
        self.check_harmless(page)
        self.assertIn(" ".join(reply["says"].split()), page.says())
        self.assertEqual(reply["stage"], "outranked", reply["says"])
        self.check_item(page, reply["explained"])
        self.assert_near(page.gap, reply["gap"], "gap")
        self.assertEqual(set(page.gap_parts), set(reply["gap_parts"]))
        for name, value in reply["gap_parts"].items():
            self.assert_near(page.gap_parts[name], value, name)

    # ---- the terminal

    def check_why(self, item):
        """The reply about an item, whose sentence is on the terminal too."""
        reply = self.server.ctl_json("why", "u", item)
        now = reply.get("list", {}).get("now_ms")
        text = self.ctl("why", "u", item, *(["--now", now] if now else []))
        self.assertIn(reply["says"], text.splitlines())
        return reply, text

    def test_why_of_a_listed_item(self):
        first = self.recommend()["items"][0]["item"]
        reply, text = self.check_why(first)
        self.assertEqual((reply["item"], reply["stage"], reply["place"]), (first, "listed", 1))
        self.assertTrue(any(line.startswith("sum ") for line in text.splitlines()), text)
        self.assertIn("term ", text)
        self.assertIn("funnel: ", text)
        self.assertNotIn("last on the list", text)

    def test_why_of_an_unknown_item(self):
        reply, _ = self.check_why("nothing-like-it")
        self.assertEqual(reply["stage"], "unknown")

    def test_why_in_one_line(self):
        lines = self.ctl("-o", "ndjson", "why", "u", item_name(20)).splitlines()
        self.assertEqual(len(lines), 1)

    def test_map_fits_into_80_columns(self):
        text = self.ctl("recommend", "u", "-n", "5", "--explain")
        maps = [line for line in text.splitlines() if line.startswith(("2025-", "sum ", "event"))]
        self.assertGreater(len(maps), 3, text)
        self.assertLessEqual(max(map(len, maps)), 80)
        self.assertNotIn("\x1b", text)

    def test_reasons_in_the_table(self):
        lines = self.ctl("recommend", "u", "-n", "3", "--reason").splitlines()
        self.assertIn("reason", lines[0].split())
        self.assertEqual(len(lines), 4)

    # ---- what if

    def test_without_an_event(self):
        history = self.client.call("user.history", user="u", n=1)["events"]
        seq = history[0]["seq"]
        self.assertIn(seq, self.ctl("user", "history", "u", "-n", "1").split())

        def events(*more):
            items = self.server.ctl_json("recommend", "u", "--explain", *more)["items"]
            return {event for item in items for event, _, _ in terms_of(item)}
        self.assertIn(seq, events())
        self.assertNotIn(seq, events("--without", seq))

    def test_what_if_options_are_understood(self):
        for command in (["recommend", "u"], ["rank", "u", item_name(5)], ["similar", item_name(5)],
                        ["complement", item_name(10)], ["top", "newest"], ["why", "u", item_name(5)]):
            with self.subTest(command[0]):
                text = self.ctl(*command, "--context", "device=phone", "--context", "place=home", "--language", "en",
                                "--funnel")
                self.assertIn("funnel: ", text)
        self.assertEqual(run(RECSYSCTL, "recommend", "u", "--context", "device").returncode, 64)


if __name__ == "__main__":
    unittest.main()
