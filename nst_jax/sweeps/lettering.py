"""Lines of text in Pillow's own font, the only one that every machine has."""

import math
import re
import unicodedata
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WHITE = 255
MIN_EM = 12  # px, the smallest text

# Text breaks after the first of these that makes it fit: words, parts of a list, parts of a name.
BREAKS = (r"(?<=\s)", r"(?<=[+,;/|])", r"(?<=[-_.:=])", r"(?<=.)")

# What Pillow's own font lacks, and Unicode has no decomposition or useful name for.
SPELLINGS = {"→": "->", "←": "<-", "×": "x", "≤": "<=", "≥": ">=", "≈": "~", "∞": "inf", "µ": "u"}
SPELLINGS |= dict.fromkeys("‐‑‒–—−", "-") | {"λ": "lambda", "Λ": "Lambda"}  # Unicode says "lamda"
SPELLINGS |= {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
SUPERSCRIPT = re.compile("[²³¹⁰⁴-⁹⁺⁻]+")


def draw_lines(text: str, width: int, em: int, count: int, ink: int) -> list[np.ndarray]:
    """Draw a text on white.

    Args:
        text: any; goes through `spell`.
        width: pixels that no line exceeds.
        em: size of the font, in pixels.
        count: of lines at most; the last one is elided where there would be more.
        ink: grey of the text, 0 to 255.

    Returns:
        (h, w, 3) uint8 for each line; none where there is no text.
    """
    return [_draw(line, em, ink) for line in _wrap(spell(text), width - 2, em, count)]


def spell(text: str) -> str:
    """Write one line with the glyphs of Pillow's own font, which has ASCII and little more.

    That font is there, and the same, on every machine. Greek letters are spelled by name, others
    lose their accents, and what has no spelling becomes "?": "α/β → 2×10⁻³, café" is
    "alpha/beta -> 2x10^-3, cafe".
    """
    line = " ".join(text.split())
    line = SUPERSCRIPT.sub(lambda found: "^" + unicodedata.normalize("NFKD", found[0]), line)
    known = (each if _is_known(each) else unicodedata.normalize("NFKD", each) for each in line)
    return "".join(map(_spell_character, "".join(known)))


def _spell_character(character: str) -> str:
    """Spell what has been decomposed as far as Unicode can."""
    if _is_known(character):
        return SPELLINGS.get(character, character)
    name, category = unicodedata.name(character, ""), unicodedata.category(character)
    if name.startswith("GREEK") and category in ("Ll", "Lu"):
        letter = name.split()[-1]
        return letter.lower() if category == "Ll" else letter.capitalize()
    return "" if category in ("Mn", "Cf", "Cc") else "?"  # accents, joiners, controls


@cache
def _is_known(character: str) -> bool:
    """Whether there is a spelling, or the font draws more than its box for what is missing."""
    box, glyph = (_font(MIN_EM).getmask(each) for each in ("\uffff", character))  # never assigned
    return character in SPELLINGS or (glyph.size, bytes(glyph)) != (box.size, bytes(box))


@cache
def _font(em: int) -> Any:  # Pillow 10's two classes of fonts share no base
    return ImageFont.load_default(em)


def _wrap(text: str, width: int, em: int, count: int) -> list[str]:
    """Break a text into at most `count` lines of at most `width` pixels, the last one elided."""
    lines: list[str] = []
    for piece in _pieces(text, width, em):
        if lines and _length(lines[-1] + piece, em) <= width:
            lines[-1] += piece
        else:
            lines.append(piece)
    if len(lines) > count:
        dots, last = spell("…"), lines[count - 1].rstrip()
        while last and _length(last + dots, em) > width:
            last = last[:-1]
        lines[count - 1 :] = [last + dots]
    return [line.strip() for line in lines]


def _pieces(text: str, width: int, em: int, level: int = 0) -> list[str]:
    """Split a text until every piece fits, at the best places that do."""
    if _length(text, em) <= width or level == len(BREAKS):
        return [text] if text else []
    parts = re.split(BREAKS[level], text)
    return [piece for part in parts for piece in _pieces(part, width, em, level + 1)]


def _length(text: str, em: int) -> float:
    return _font(em).getlength(text.rstrip())


def line_height(em: int) -> int:
    """Of a line of text, in pixels."""
    return sum(_font(em).getmetrics())


def _draw(line: str, em: int, ink: int) -> np.ndarray:
    """One line of text, with a pixel at each side for glyphs that lean out."""
    size = math.ceil(_length(line, em)) + 2, line_height(em)
    image = Image.new("RGB", size, (WHITE,) * 3)
    ImageDraw.Draw(image).text((1, 0), line, fill=(ink,) * 3, font=_font(em))
    return np.asarray(image)
