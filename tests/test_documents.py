"""The README and the documents: links lead somewhere, and what is quoted exists."""

import contextlib
import io
import pkgutil
import re
import shlex
import tomllib
from functools import cache

import pytest
from reference import ROOT

import nst_jax
from nst_jax.cli.main import make_parser

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "weights/README.md"])
RESULTS = sorted(ROOT.glob("docs/benchmark/*/results.md"))  # a machine each
FOLDERS = r"nst_jax|tests|scripts|docs|weights|\.ci"
# What a quotation that begins with a flag may belong to.
BEGINNINGS = (
    "stylize a.jpg b.jpg",
    "sweep a.jpg b.jpg",
    "reconstruct content a.jpg",
    "rerun a.json",
    "plan a.jpg b.jpg",
    "weights normalize NAME --images FOLDER",
    "weights convert FILE",
)


def names(documents):
    return [str(path.relative_to(ROOT)) for path in documents]


def fences(text, *languages):
    """The code between fences of these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
    return [code for language, code in found if language in languages]


def quotations(text):
    """Everything quoted as code, a line each: in a sentence, indented, or between fences."""
    indented = re.findall(r"^    (\S.*)$", text, re.M)
    fenced = [line for code in fences(text, "", "sh", "bash") for line in code.splitlines()]
    plain = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", plain)]
    return [*indented, *fenced, *spans]


def parses(command):
    """Whether the parser of nst-jax takes this, and what it says if not."""
    words = shlex.split(command.split(" > ")[0], comments=True)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            make_parser(words).parse_args(words)
        except SystemExit as stop:
            return stop.code == 0, said.getvalue()
    return True, ""


@cache
def known_flags():
    """All flags of all commands."""
    helps = ""
    for command in (*(begin.split()[0] for begin in BEGINNINGS[:5]), "weights normalize"):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            make_parser(command.split()).parse_args([*command.split(), "--help"])
        helps += said.getvalue()
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", helps))


def anchors(path):
    """The fragments that GitHub gives to a document's headings."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.*)$", re.sub(r"\]\([^)]*\)", "", text), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=names(DOCUMENTS))
def test_links_and_pictures_are_there(path):
    text = re.sub(r"`[^`]*`", "", path.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        file, _, fragment = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: leads out of the repository"
        if fragment:
            assert fragment in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=names(DOCUMENTS))
def test_commands_are_commands(path):
    for quoted in quotations(path.read_text("utf-8")):
        if quoted.startswith("nst-jax "):
            command = quoted.removeprefix("nst-jax ")
            fine, why = parses(command)
            is_name = re.fullmatch("[a-z ]+", command) and parses(f"{command} --help")[0]
            assert fine or is_name, f"{quoted}: {why}"
        elif re.fullmatch(r"--[a-z][\w-]*", quoted):
            assert quoted in known_flags(), f"{quoted}: no command has this flag"
        elif re.match(r"--[a-z]|-o ", quoted):
            reasons = [parses(f"{begin} {quoted}") for begin in BEGINNINGS]
            assert any(fine for fine, _ in reasons), f"{quoted}: {reasons[0][1]}"
        elif module := re.match(r"python -m (scripts[\w.]*)", quoted):
            place = ROOT / module[1].replace(".", "/")
            found = [place.with_suffix(".py"), place / "__main__.py"]
            assert any(file.is_file() for file in found), f"{quoted}: there is no such module"
        elif file := re.match(rf"(?:bash )?((?:{FOLDERS})/[\w./-]*)(?: |$)", quoted):
            assert (ROOT / file[1]).exists(), f"{quoted}: there is no such file"
        elif re.fullmatch(r"nst_jax(\.\w+)+", quoted):
            assert pkgutil.resolve_name(quoted), f"{quoted}: there is no such name"


@pytest.mark.parametrize("path", DOCUMENTS, ids=names(DOCUMENTS))
def test_code_names_what_there_is(path):
    text = path.read_text("utf-8")
    for code in fences(text, "python"):
        compile(code, str(path), "exec")
        for name in re.findall(r"\bnst_jax\.(\w+)", code):
            assert hasattr(nst_jax, name), f"nst_jax.{name}"
    for code in fences(text, "toml"):
        values = tomllib.loads(code)
        preset = nst_jax.PRESETS[values.pop("preset", "paper")]
        nst_jax.Settings(**{**preset, **values})


def test_the_architecture_names_every_module():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"\(\.\./(nst_jax/[\w/]+\.py)\)", text))
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("nst_jax/**/*.py")}
    assert {path for path in modules if "/__" not in path} == named


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 130


@pytest.mark.parametrize("name", ["README.md", "docs/benchmark.md"])
def test_figures_are_those_of_the_results(name):
    results = "\n".join(path.read_text("utf-8") for path in RESULTS)
    table = (ROOT / name).read_text("utf-8").split("nst_jax / PyTorch |\n")[1].split("\n\n")[0]
    quoted = [
        f"{number} {end[-1]}"
        for numbers, *end in re.findall(r"((?:[\d.]+[,;] )*[\d.]+) (ms|s|MB|×)(?!\w)", table)
        for number in re.split("[,;] ", numbers)
    ]
    assert len(quoted) >= 15
    assert [figure for figure in quoted if not re.search(rf"\b{re.escape(figure)}", results)] == []


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {nst_jax.__version__}\n" in citation
    assert f"## [{nst_jax.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
