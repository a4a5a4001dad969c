"""The page of a sweep: one HTML file that shows every result and asks nobody for anything.

`page.html` is the whole page, but for three places: what the browser may load (POLICY), the title,
and the data, from which its script builds everything else.
"""

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from nst_jax.images.encoders import quantize

PREVIEW_SIDE = 768  # pixels; the full pictures stand beside the page
PREVIEW_QUALITY = 88

PLACE = re.compile("@@(POLICY|TITLE|DATA)@@")


def make_page(sweep: Mapping[str, Any], images: Mapping[str, np.ndarray | None]) -> str:
    """Make the page on which the results of a sweep are compared.

    Args:
        sweep: what sweep.json holds: `title`, `command`, `axes`, `sources` and `lanes`; and
            `full_size`, in pixels, where commands are to be shown at another size.
        images: (H, W, 3) float sRGB in [0, 1] by the `file` of a lane or the `key` of a source;
            clipped, and scaled down to a long side of `PREVIEW_SIDE` pixels. A lane with None, or
            without one, is shown with its `error`.

    Returns:
        the text of an HTML file that stands alone, but for its links to the lanes' files and to
        sweep.json, which are relative; to be written as UTF-8.

    Raises:
        ValueError: a number in `sweep` is not finite, which JSON cannot say.
    """
    template = resources.files("nst_jax.sweeps").joinpath("page.html").read_text("utf-8")
    data = {
        "sweep": sweep,
        "pictures": {key: _picture(each) for key, each in images.items() if each is not None},
        "links": [_links(lane) for lane in sweep["lanes"]],
    }
    parts = {"POLICY": _policy(template), "TITLE": _text(sweep["title"]), "DATA": _json(data)}
    return PLACE.sub(lambda place: parts[place[1]], template)  # once: a title may hold "@@DATA@@"


def _picture(image: np.ndarray) -> dict[str, Any]:
    """A preview as a data URI of a JPEG, and the full picture's size in pixels."""
    height, width = image.shape[:2]
    preview = Image.fromarray(quantize(image, 8))
    preview.thumbnail((PREVIEW_SIDE,) * 2, Image.Resampling.LANCZOS, reducing_gap=None)
    stream = io.BytesIO()
    preview.save(stream, "JPEG", quality=PREVIEW_QUALITY, subsampling="4:4:4")  # red stays sharp
    return {
        "preview": "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode(),
        "width": width,
        "height": height,
        "reduced": preview.size != (width, height),
    }


def _links(lane: Mapping[str, Any]) -> dict[str, str]:
    """What leads to a lane: its file's address beside the page, and its name within the page."""
    return {
        "file": quote(lane["file"], errors="surrogateescape"),  # a name need not be UTF-8
        "anchor": quote(lane["name"], safe="", errors="surrogateescape"),
    }


def _policy(template: str) -> str:
    """The Content-Security-Policy: pictures from within, this style and script, nothing else."""
    allowed = {}
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL)
        digest = hashlib.sha256(content.encode()).digest()
        allowed[tag] = f"'sha256-{base64.b64encode(digest).decode()}'"
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"img-src data:; style-src {allowed['style']}; script-src {allowed['script']}"
    )


def _text(value: str) -> str:
    """Text for an element; half a surrogate pair, from a file name, would not become UTF-8."""
    return html.escape(value.encode("utf-8", "backslashreplace").decode())


def _json(data: Any) -> str:
    """JSON in ASCII that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
