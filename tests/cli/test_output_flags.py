"""The flags on how pictures are written, from the command line to the files."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command import QUICK, draw, nst, picture, refused
from exif_maker import camera_exif
from PIL import Image
from png_reader import read_chunks, read_pixels

HALF_LEVEL = 0.5  # of 255, from 16 bits to 8
JPEG_LEVELS = 4  # of 255, on average
STYLIZE = ("stylize", "photo.jpg", "painting.png", *QUICK, "--steps", 2)
SWEEP = ("sweep", *STYLIZE[1:], "--ratios", "1e-4,1e-3", "-o", "out")
SMALL = ("--size", 32, "--lbfgs-memory", 5, "--layers", "conv1_1", "--steps", 1)
PRINT = ("--bits", 16, "--dpi", 300, "--copy-exif")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The current folder, with a photograph that lies on its side, and a painting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_JAX_WEIGHTS", str(tmp_path / "installed"))
    exif = b"Exif\0\0" + camera_exif(orientation=6)
    Image.fromarray(picture(64, 48)).save("photo.jpg", exif=exif)
    draw("painting.png", 40, 40, seed=1)


def read_json(path):
    return json.loads(Path(path).read_text())


def read_png(path):
    """Pixels, and {type: data} of the chunks."""
    data = Path(path).read_bytes()
    return read_pixels(data)[0], dict(read_chunks(data))


def test_tiff_for_print():
    assert nst(*STYLIZE, *PRINT, "-o", "out.tif")[:2] == (0, "out.tif\n")
    assert nst(*STYLIZE, "-o", "plain.png").code == 0
    with tifffile.TiffFile("out.tif") as file:
        deep, tags = file.asarray(), {tag.name: tag.value for tag in file.pages[0].tags}
    assert deep.dtype == np.uint16 and deep.shape == (24, 32, 3)  # upright
    plain, chunks = read_png("plain.png")
    assert np.abs(deep / 257 - plain).max() <= HALF_LEVEL
    assert not (deep % 257 == 0).all()  # more than eight bits stretched
    assert tags["XResolution"] == (300, 1) and tags["ResolutionUnit"] == 2
    assert tags["Model"] == "EOS 5" and tags["ExifTag"]["ExposureTime"] == (1, 50)
    assert tags["GPSTag"]["GPSLatitudeRef"] == "N" and "Orientation" not in tags
    assert not {b"pHYs", b"eXIf"} & set(chunks)

    record, plainly = read_json("out.json"), read_json("plain.json")
    assert record["output"] == {"bits": 16, "dpi": 300, "copy_exif": True, "text": True}
    assert plainly["output"] == {"bits": 8, "dpi": None, "copy_exif": False, "text": True}
    assert record["settings"] == plainly["settings"] and record["result"] == plainly["result"]
    _, inside = tags["ImageDescription"].split("nst_jax: ")
    inside = json.loads(inside)
    assert inside["output"] == record["output"] and inside["settings"] == record["settings"]


def test_png_for_print():
    """The pictures that are saved on the way, too."""
    code, out, _ = nst(*STYLIZE, *PRINT, "-o", "out.png", "--save-every", 1)
    assert (code, out.split()) == (0, ["out-00001.png", "out.png"])
    for name in out.split():
        pixels, chunks = read_png(name)
        assert pixels.dtype == np.uint16 and {b"iCCP", b"pHYs", b"eXIf"} <= set(chunks)
    assert b'"bits": 16' in chunks[b"iTXt"]


def test_sides_are_told_before_the_run():
    words = ("out.webp: a side of 16384 px is longer than a WebP's 16383; use .png",)
    refused((*STYLIZE, "--size", 16384, "-o", "out.webp"), words)


def test_jpeg_for_print():
    assert nst(*STYLIZE, "--dpi", 240, "--copy-exif", "-o", "out.jpg").code == 0
    assert nst(*STYLIZE, "-o", "plain.png").code == 0
    with Image.open("out.jpg") as saved:
        assert saved.info["dpi"] == (240, 240) and saved.getexif()[271] == "Canon"
        assert saved.getexif().get(274, 1) == 1
        pixels = np.asarray(saved)
    assert np.abs(pixels - read_png("plain.png")[0].astype(float)).mean() < JPEG_LEVELS


def test_photograph_without_exif():
    draw("photo.jpg")
    code, out, err = nst(*STYLIZE, "--copy-exif", "-o", "out.png")
    assert (code, out) == (0, "out.png\n")
    assert "photo.jpg: has no EXIF data to copy" in err.splitlines()
    assert b"eXIf" not in read_png("out.png")[1]
    assert read_json("out.json")["output"]["copy_exif"] is False


def test_sweep():
    assert nst(*SWEEP, *PRINT).code == 0
    for lane in read_json("out/sweep.json")["lanes"]:
        assert lane["output"] == {"bits": 16, "dpi": 300, "copy_exif": True, "text": True}
        assert lane["again"].endswith(" --bits 16 --dpi 300 --copy-exif")
        pixels, chunks = read_png(f"out/{lane['file']}")
        assert pixels.dtype == np.uint16 and {b"pHYs", b"eXIf"} <= set(chunks)
    assert read_png("out/grid.png")[0].dtype == np.uint8

    code, out, err = nst(*SWEEP, *PRINT)
    assert code == 0 and "2 of 2 are finished" in err
    words = ("holds another sweep", "has bits 16, not 8", "--overwrite")
    refused(SWEEP, words, chatter=True)
    refused((*SWEEP, "--bits", 16), ("has dpi 300, not None",), chatter=True)
    assert nst(*SWEEP, "--overwrite").code == 0
    assert read_png("out/ratio-1e-3.png")[0].dtype == np.uint8


def test_reconstruct():
    flags = (*SMALL, "-o", "out", "--bits", 16)
    assert nst("reconstruct", "content", "photo.jpg", *flags).code == 0
    (lane,) = read_json("out/sweep.json")["lanes"]
    assert lane["again"].endswith(" --bits 16")
    pixels, chunks = read_png(f"out/{lane['file']}")
    assert pixels.dtype == np.uint16 and b"eXIf" not in chunks


@pytest.mark.parametrize("name", ["out.png", "out.tif", "out.jpg"])
def test_pictures_without_command_and_paths(tmp_path, name):
    """Nothing of them stands in the bytes, nor in those of a rerun; the record still has them."""
    private = tmp_path / "private"
    private.mkdir()
    photo = Path("photo.jpg").rename(private / "photo.jpg")
    command = ("stylize", photo, *STYLIZE[2:], "--save-every", 1, "-o", name)
    assert nst(*command).code == 0
    assert b"private" in Path(name).read_bytes()
    assert nst(*command, "--no-metadata", "--overwrite").code == 0
    assert nst("rerun", "out.json", "-o", f"again-{name}").code == 0
    for file in (name, f"again-{name}", f"out-00001{Path(name).suffix}"):
        assert not {b"private", b"stylize", b"nst_jax"} & set(words_of(file)), file
    record = read_json("out.json")
    assert record["output"]["text"] is False and record["inputs"]["content"]["file"] == str(photo)
    refused(("rerun", name), ("carries no settings", "the record beside it"))


def words_of(file):
    """All that looks like a name in the bytes of a file."""
    return re.findall(rb"[a-z_]{4,}", Path(file).read_bytes())


def test_a_sweep_without_command_and_paths(tmp_path):
    assert nst(*SWEEP, "--no-metadata").code == 0
    for file in Path("out").glob("*.png"):
        assert not {b"nst_jax", b"sweep", b"photo"} & set(words_of(file)), file
    assert all(
        lane["again"].endswith(" --no-metadata") for lane in read_json("out/sweep.json")["lanes"]
    )
    refused(SWEEP, ("holds another sweep", "has text False, not True"), chatter=True)


@pytest.mark.parametrize(
    ("command", "output", "made"),
    [
        (STYLIZE, "new/inside/out.png", "new/inside/out.png"),
        (STYLIZE, "new/inside/", "new/inside/photo-painting.png"),
        (SWEEP[:-2], "new/inside/", "new/inside/grid.png"),
        (("reconstruct", "style", "painting.png", *SMALL), "new/inside/", "new/inside/grid.png"),
    ],
)
def test_folders_are_made(command, output, made):
    """And said; not where the run is refused for another reason."""
    refused((*command, "-o", output, "--init", "missing.png"), ("missing.png",), chatter=True)
    code, out, err = nst(*command, "-o", output)
    assert code == 0 and made in out.split() and Path(made).is_file()
    assert "made the folder new/inside" in err.splitlines()
    code, _, err = nst(*command, "-o", output, "--overwrite")
    assert code == 0 and "made the folder" not in err


def test_a_rerun_into_a_folder():
    assert nst(*STYLIZE, "-o", "out.png").code == 0
    code, out, err = nst("rerun", "out.json", "-o", "new/")
    assert (code, out) == (0, "new/out-rerun.png\n") and "made the folder new" in err.splitlines()


WRONG = [
    (("--bits", 12), ("bits is 12", "wanted 8 or 16")),
    (("--bits", "x"), ("--bits", "'x'", "--help")),
    (("--dpi", 0), ("dpi is 0", "1 to 65535")),
    (("--dpi", 65536), ("dpi is 65536", "1 to 65535")),
    (("--dpi", 72.5), ("--dpi", "'72.5'", "--help")),
]


@pytest.mark.parametrize(("flags", "words"), WRONG)
@pytest.mark.parametrize("command", [STYLIZE, SWEEP, ("reconstruct", "style", "painting.png")])
def test_refused(command, flags, words):
    refused((*command, *flags), words)


@pytest.mark.parametrize("name", ["out.jpg", "out.JPEG"])
def test_jpeg_of_16_bits(name):
    words = (f"{name}: a JPEG has 8 bits, not 16", "use .png or .tif")
    refused((*STYLIZE, "--bits", 16, "-o", name), words)


@pytest.mark.parametrize("command", [STYLIZE, SWEEP])
def test_missing_photograph(command):
    Path("photo.jpg").unlink()
    words = ("photo.jpg: there is no such file",)
    refused((*command, "--copy-exif"), words, chatter=True)
