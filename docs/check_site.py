"""Check the built site: no link within it is broken, and no page is wider than a narrow screen.

The second check needs Chromium, and is left out where there is none. Run after ``make docs`` as
``python docs/check_site.py``; with ``--shots FOLDER`` it saves pictures of some pages as well.
"""

import argparse
import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

SITE = Path(__file__).parent / "_build" / "html"
NARROW, WIDE = 390, 1280
SHOWN = "index", "user_guide/choosing", "user_guide/mathematics", "auto_examples/plot_counts"
SHOWN += ("api/generated/sklearn_vae.VAETransformer",)
# Each page is loaded in a frame of the width of a narrow screen, and asked for its own width.
HARNESS = """<!doctype html><body><pre id="out"></pre><script>
(async () => {
  const out = {};
  for (const page of %s) {
    const frame = document.createElement("iframe");
    frame.style.cssText = "width:%dpx;height:800px;border:0";
    frame.src = "/" + page;
    document.body.append(frame);
    await new Promise(done => { frame.onload = done; });
    const doc = frame.contentDocument;
    if (doc.querySelector(".math") && frame.contentWindow.MathJax) {
      await frame.contentWindow.MathJax.startup.promise;
    }
    await new Promise(done => setTimeout(done, 50));
    out[page] = [doc.documentElement.scrollWidth, doc.querySelectorAll("mjx-container").length,
                 doc.querySelectorAll(".math").length];
    frame.remove();
  }
  document.getElementById("out").textContent = JSON.stringify(out);
})();
</script></body>"""


class Page(HTMLParser):
    """The targets and the links of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        link = attrs.get("href") or attrs.get("src")
        if link and not re.match(r"[a-z]+:|//|#?$", link):
            self.links.add(link)


def broken_links():
    """Pairs (page, link) of links within the site that lead nowhere."""
    pages = {
        path: Page(path.read_text()) for path in SITE.rglob("*.html") if "_static" not in path.parts
    }
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(unquote(link.split("?")[0]))
            to = (path.parent / target).resolve() if target else path
            to = to / "index.html" if to.is_dir() else to
            known = pages[to].ids if to in pages else None
            if not to.exists() or (anchor and known is not None and anchor not in known):
                yield path.relative_to(SITE), link


def served():
    """A server of the site, and its address."""
    handler = functools.partial(Quiet, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A handler that prints nothing."""

    def log_message(self, *args):
        pass


def chromium(*arguments, timeout=600):
    """What Chromium prints when it is run without a window."""
    name = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    with tempfile.TemporaryDirectory() as profile:
        command = [name, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", *arguments]
        run = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    return run.stdout


def measured(address):
    """Width and formulas of each page, on a narrow screen."""
    pages = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html"))
    pages = [page for page in pages if not page.startswith(("_modules", "_static"))]
    harness = SITE / "_narrow.html"
    harness.write_text(HARNESS % (json.dumps(pages), NARROW))
    try:
        dom = chromium("--virtual-time-budget=600000", "--dump-dom", f"{address}/_narrow.html")
    finally:
        harness.unlink()
    return json.loads(html.unescape(re.search(r'<pre id="out">(.*?)</pre>', dom, re.S)[1]))


def shoot(address, folder):
    """Save pictures of some pages, wide and narrow, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in SHOWN:
        for width in (WIDE, NARROW):
            for dark in (False, True):
                name = f"{page.replace('/', '_')}_{width}_{'dark' if dark else 'light'}.png"
                frame = SITE / "_shot.html"
                frame.write_text(
                    f'<body style="margin:0"><iframe src="/{page}.html" style="border:0;'
                    f'width:{width}px;height:1500px"></iframe></body>'
                )
                theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
                chromium(
                    *theme,
                    "--virtual-time-budget=20000",
                    f"--window-size={max(width, 500)},1500",
                    f"--screenshot={folder.resolve() / name}",
                    f"{address}/_shot.html",
                )
                frame.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=Path)
    arguments = parser.parse_args()
    faults = [f"{page}: {link} leads nowhere" for page, link in broken_links()]
    if shutil.which("chromium") or shutil.which("chromium-browser"):
        server, address = served()
        widths = measured(address)
        for page, (width, shown, formulas) in widths.items():
            if width > NARROW:
                faults.append(f"{page}: {width} pixels wide on a screen of {NARROW}")
            if formulas and not shown:
                faults.append(f"{page}: formulas are not rendered")
        print(f"{len(widths)} pages at {NARROW} pixels")
        if arguments.shots:
            shoot(address, arguments.shots)
        server.shutdown()
    else:
        print("Chromium is not there: widths are not checked")
    print("\n".join(faults) or "no fault")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
