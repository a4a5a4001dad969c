"""What the pages share: one HTML file each, that asks nobody for anything.

A template is the whole page, but for what the pages have in common, what the browser may load
(POLICY), the title, and the data, from which its script builds everything else.
"""

import base64
import hashlib
import html
import io
import json
import re
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image

from nst_jax.images.encoders import quantize

PLACE = re.compile("@@(POLICY|TITLE|DATA)@@")


def fill_template(name: str, title: str, data: Any) -> str:
    """The text of a page, to be written as UTF-8.

    Args:
        name: of the template.
        title: plain text.
        data: for its script, as JSON.

    Raises:
        ValueError: a number in `data` is not finite, which JSON cannot say.
    """
    template = _template(name)
    parts = {"POLICY": _policy(template), "TITLE": _text(title), "DATA": _json(data)}
    return PLACE.sub(lambda place: parts[place[1]], template)  # once: a title may hold "@@DATA@@"


def preview_of(image: np.ndarray, side: int, quality: int, subsampling: str) -> dict[str, Any]:
    """A preview as a data URI of a JPEG, and the full picture's size in pixels.

    Args:
        image: (H, W, 3) float sRGB in [0, 1]; clipped.
        side: pixels; a longer side is scaled down to it.
        quality: of the JPEG, 1 to 95.
        subsampling: of its color, as Pillow has it.
    """
    height, width = image.shape[:2]
    preview = Image.fromarray(quantize(image, 8))
    preview.thumbnail((side,) * 2, Image.Resampling.LANCZOS, reducing_gap=None)
    stream = io.BytesIO()
    preview.save(stream, "JPEG", quality=quality, subsampling=subsampling)
    return {
        "preview": "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode(),
        "width": width,
        "height": height,
        "reduced": preview.size != (width, height),
    }


@cache
def _template(name: str) -> str:
    """A template with the style and the script that all have."""
    folder = resources.files("nst_jax.sweeps")
    template = folder.joinpath(name).read_text("utf-8")
    for place, shared in (("STYLE", "common.css"), ("SCRIPT", "common.js")):
        template = template.replace(f"@@{place}@@", folder.joinpath(shared).read_text("utf-8"))
    return template


@cache
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
