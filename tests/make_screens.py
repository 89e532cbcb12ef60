"""docs/app.jpg, from the examples: `python tests/make_screens.py [-o FILE]`. It needs Chromium.

The page at work on a desktop: the mask that was found, and before and after, side by side; beside
them the same on a phone, dark.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chromium import Chromium
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "examples" / "3_sunglasses.jpg"
DRAWN = "return !document.querySelector('#brush .stage').hidden"
COMPARED = "return document.querySelectorAll('#slider img').length > 1"


def states(address: str, folder: Path, width: int, height: int, dark: bool) -> list[Image.Image]:
    """The page with the mask, and with the result."""
    with Chromium(width, height, dark) as browser:
        browser.open(address)
        browser.wait("return document.querySelector('#photo input[type=file]')")
        browser.upload("#photo input[type=file]", PHOTO)
        browser.wait(DRAWN)
        time.sleep(1)
        browser.run("document.querySelector('#brush').scrollIntoView()") if dark else None
        before = browser.screenshot(folder / f"mask{dark}.png")
        browser.run("document.querySelector('#restore').click()")
        browser.wait(COMPARED)
        time.sleep(2)
        browser.run("document.querySelector('#result').scrollIntoView({block: 'end'})")
        time.sleep(1)
        after = browser.screenshot(folder / f"result{dark}.png")
        return [Image.open(before).convert("RGB"), Image.open(after).convert("RGB")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "app.jpg")
    output = parser.parse_args().output
    command = [sys.executable, str(ROOT / "app.py")]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as server,
    ):
        try:
            lines = iter(server.stdout.readline, "")
            address = next(line.split()[-1] for line in lines if line.startswith("the page: "))
            pictures = states(address, Path(folder), 1100, 1010, dark=False)
            pictures += states(address, Path(folder), 500, 1010, dark=True)[1:]
        finally:
            server.terminate()
    height = 620
    small = [p.resize((round(p.width * height / p.height), height)) for p in pictures]
    sheet = Image.new("RGB", (sum(p.width for p in small) + 12 * (len(small) - 1), height), "white")
    left = 0
    for picture in small:
        sheet.paste(picture, (left, 0))
        left += picture.width + 12
    sheet.save(output, quality=72, optimize=True)
    print(f"{output}: {sheet.width} x {sheet.height}, {output.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
