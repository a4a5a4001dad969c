"""Flags that people know from other programs of style transfer, and what they are called here.

`python -m nst_jax.cli.other_programs` prints the table of docs/migration.md.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """What goes by one name here.

    Attributes:
        theirs: names elsewhere, without dashes, words joined by _.
        ours: what to type.
        remark: what else there is to know.
    """

    theirs: tuple[str, ...]
    ours: str
    remark: str = ""


# Of neural-style (Lua), neural-style-pt, and the scripts in PyTorch and TensorFlow that followed.
# Names that are the same here, as -optimizer, need no row.
ROWS = (
    Row(
        ("content_image", "style_image", "content", "style", "content_path", "style_path"),
        "nst-jax stylize CONTENT STYLE",
        "as many STYLE as you like",
    ),
    Row(("content_img", "style_img", "input", "target", "input_image"), "CONTENT STYLE"),
    Row(("image_size", "img_size", "imsize", "max_size", "height", "width"), "--size"),
    Row(("num_iterations", "iterations", "num_steps", "epochs", "max_iter", "niter"), "--steps"),
    Row(("init_image", "init_method"), "--init", "which takes a file, too"),
    Row(
        ("content_weight", "style_weight", "alpha", "beta"),
        "--ratio",
        "their quotient, content over style, in a convention of its own",
    ),
    Row(("style_blend_weights", "style_weights"), "--style-blend"),
    Row(("tv", "total_variation_weight", "tv_loss_weight"), "--tv-weight"),
    Row(("pooling_type",), "--pooling"),
    Row(("lr",), "--learning-rate"),
    Row(("lbfgs_num_correction", "history_size"), "--lbfgs-memory"),
    Row(("original_colors", "preserve_color", "preserve_colors"), "--colors luminance"),
    Row(("print_iter", "log_interval"), "--report-every"),
    Row(("save_iter", "checkpoint_interval"), "--save-every"),
    Row(("output_image", "output_path", "output_dir", "save_path"), "-o"),
    Row(("model_file", "model", "vgg_path"), "--weights", "other formats are converted first"),
    Row(("network", "vgg"), "--weights", "vgg19 or vgg16"),
    Row(
        ("gpu", "backend", "device", "cuda", "cpu"),
        "JAX_PLATFORMS",
        "an environment variable of JAX's",
    ),
)
NAMES = {name: row for row in ROWS for name in row.theirs}


def refusal(words: Sequence[str], own: Collection[str]) -> str | None:
    """Why the words of a command line are refused, if they have another program's flag.

    Args:
        words: that were typed, up to a "--".
        own: the command's flags, such as --size and -o.
    """
    for word in words[: words.index("--")] if "--" in words else words:
        typed = word.partition("=")[0]
        dashes, name = typed[: len(typed) - len(typed.lstrip("-"))], typed.lstrip("-")
        if dashes not in ("-", "--") or not name[:1].isalpha() or typed in own:
            continue
        row, double = NAMES.get(name.lower().replace("-", "_")), f"--{name.replace('_', '-')}"
        if double in own:
            return f"{typed}: here it is {double}"
        if row:
            return f"{typed}: is another program's; here it is {_with_remark(row, row.ours)}"
        # argparse would take the rest of -output for the value of -o.
        if dashes == "-" and len(name) > 1 and not set(name) & set("./\\"):
            return (
                f"{typed}: no such flag; long ones have two dashes, and -o is followed by a space"
            )
    return None


def table() -> str:
    """For the documents, in Markdown."""
    lines = ("| elsewhere | here |", "|---|---|", *map(_line, ROWS))
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    theirs = ", ".join(f"`-{name}`" for name in row.theirs)
    return f"| {theirs} | {_with_remark(row, f'`{row.ours}`')} |"


def _with_remark(row: Row, ours: str) -> str:
    return f"{ours}, {row.remark}" if row.remark else ours


if __name__ == "__main__":
    print(table(), end="")
