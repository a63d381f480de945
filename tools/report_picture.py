"""Draws docs/report.png, the top of a comparison's report in the README.

    python tools/report_picture.py outputs/reports/NAME/report.html

Needs Chromium.
"""

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from mlflow_pages import FLAGS, NO_CHROMIUM, ROOT, chromium

WIDTH, HEIGHT = 1280, 1100
COLOURS = 128  # a page of text and figures needs no more, and the file is a third


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("error: write the report's page behind the command: outputs/reports/NAME/report.html")
    if chromium() is None:
        sys.exit(f"error: there is no browser\n  This {NO_CHROMIUM}.")
    from playwright.sync_api import sync_playwright  # only `make test-ui` and `make pictures` install it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(Path(sys.argv[1]).resolve().as_uri())
        picture = Image.open(BytesIO(page.screenshot()))
        browser.close()
    path = ROOT / "docs" / "report.png"
    picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
