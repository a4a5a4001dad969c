"""The page of a sweep: one HTML file that shows every result and asks nobody for anything."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from nst_jax.sweeps.page_template import fill_template, preview_of

PREVIEW_SIDE = 768  # pixels; the full pictures stand beside the page
PREVIEW_QUALITY = 88
PREVIEW_COLOR = "4:4:4"  # red stays sharp


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
    data = {
        "sweep": sweep,
        "pictures": {
            key: preview_of(image, PREVIEW_SIDE, PREVIEW_QUALITY, PREVIEW_COLOR)
            for key, image in images.items()
            if image is not None
        },
        "links": [_links(lane) for lane in sweep["lanes"]],
    }
    return fill_template("page.html", sweep["title"], data)


def _links(lane: Mapping[str, Any]) -> dict[str, str]:
    """What leads to a lane: its file's address beside the page, and its name within the page."""
    return {
        "file": quote(lane["file"], errors="surrogateescape"),  # a name need not be UTF-8
        "anchor": quote(lane["name"], safe="", errors="surrogateescape"),
    }
