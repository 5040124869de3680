"""The documentation site: it builds without a warning, is complete, and stands on its own."""

from __future__ import annotations

import importlib
import re
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from built_site import DOCS, PROJECT, built_site, hook, html_pages, inventory, page

PUBLIC = (
    "rootml",
    "rootml.batching",
    "rootml.bdt",
    "rootml.errors",
    "rootml.expressions",
    "rootml.toml",
    "rootml.sbi",
    "rootml.sbi.morphing",
    "rootml.sbi.roofit",
)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_site(tmp_path_factory)


# --- the whole -----------------------------------------------------------------------------------


def test_site_has_a_page_for_each_source(site: Path) -> None:
    """Built with --strict: links, anchors, cross-references, and pages that no menu leads to."""
    sources = [path.relative_to(DOCS) for path in DOCS.rglob("*.md") if "_hooks" not in path.parts]
    assert len(sources) > 25
    for source in sources:
        folder = source.parent if source.name == "index.md" else source.with_suffix("")
        assert (site / folder / "index.html").exists(), source


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Styles, scripts, fonts, pictures: a machine without network shows all of it."""
    for path in html_pages(site):
        assert page(path).resources
        assert [r for r in page(path).resources if re.match(r"(https?:)?//", r)] == [], path
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"""(?:@import|url\()\s*["']?(?:https?:)?//[^)"']+""", text) == [], path


def test_links_and_anchors_lead_somewhere(site: Path) -> None:
    """On the finished pages, those of the reference too, which MkDocs does not look at."""
    checked, lost = 0, []
    for path in html_pages(site):
        for link in page(path).links:
            target, anchor = urldefrag(link)
            if re.match(r"[a-z]+:", target):
                continue
            goal = (path.parent / unquote(target)).resolve() if target else path.resolve()
            goal = goal / "index.html" if goal.is_dir() else goal
            checked += 1
            if not goal.exists() or (
                anchor and goal.suffix == ".html" and unquote(anchor) not in page(goal).ids
            ):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert lost == []
    assert checked > 1000


# --- the reference -------------------------------------------------------------------------------


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(site: Path, module: str) -> None:
    known = inventory(site)
    names = importlib.import_module(module).__all__
    missing = [name for name in names if f"{module}.{name}" not in known]
    assert missing == [], f"add '::: {module}.NAME' to a page of docs/reference"


def test_methods_are_in_the_reference_and_private_names_are_not(site: Path) -> None:
    known = inventory(site)
    assert {
        "rootml.Dataset.filter",
        "rootml.Dataset.on",
        "rootml.batching.BatchLoader.torch",
    } <= known
    shown = [h for path in (site / "reference").rglob("*.html") for h in page(path).headings]
    assert len(shown) > 250
    private = [name for name in shown if re.match(r"_(?!_)", name.rsplit(".", 1)[-1])]
    assert private == []
    for path in (site / "reference").rglob("*.html"):  # nor private arguments
        assert re.findall(r'<span class="n">_[a-z]\w*</span>', path.read_text("utf-8")) == []


def test_examples_are_no_quotations(site: Path) -> None:
    """What `>>>` is to Markdown; and reST's tables and literal blocks are not left standing."""
    for path in (site / "reference").rglob("*.html"):
        assert "blockquote" not in page(path).tags, path
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"={4,}  +={4,}|<p>[^<]*::</p>", text) == [], path


def test_docstrings_become_markdown() -> None:
    to_markdown = hook("docstrings").to_markdown
    assert to_markdown("One.\n\n>>> f(1)\n2\n\n>>> g()\n\nTwo.") == (
        "One.\n\n```pycon\n>>> f(1)\n2\n\n>>> g()\n```\n\nTwo."
    )
    assert to_markdown("So::\n\n    x = 1\n\nThen.") == "So:\n\n```python\nx = 1\n```\n\nThen."
    assert to_markdown("::\n\n    auto *w = 1;") == "\n```text\nauto *w = 1;\n```\n"
    table = "====  ===\nmode  how\n====  ===\na     b | c\n      d\n====  ==="
    assert to_markdown(table).split("\n") == [
        "",
        "| mode | how |",
        "|---|---|",
        "| a | b \\| c d |",
        "",
    ]
    shared = "Args:\n    test, validation: Fractions\n        of all.\n    by: It."
    assert to_markdown(shared) == (
        "Args:\n    test: Fractions\n        of all.\n    validation: See `test`.\n    by: It."
    )
    assert to_markdown("Plain, text: as it is.") == "Plain, text: as it is."


def test_names_in_docstrings_become_links() -> None:
    docstrings = hook("docstrings")
    text = "See `Model.fit`, `rootml.open`, ``Model.fit``.\n```pycon\n`Model.fit`\n```"
    link = '<autoref identifier="{}" optional><code>{}</code></autoref>'
    assert docstrings.linked(text, "rootml.sbi") == (
        f"See {link.format('rootml.sbi.Model.fit', 'Model.fit')}, "
        f"{link.format('rootml.open', 'rootml.open')}, ``Model.fit``.\n"
        "```pycon\n`Model.fit`\n```"
    )
    assert (
        docstrings.package_of("rootml.sbi.morphing.validation._report.ClosureReport.save")
        == "rootml.sbi.morphing"
    )
    assert docstrings.package_of("rootml.dataset._opening.open_dataset") == "rootml"


# --- what pages say ------------------------------------------------------------------------------


def test_install_lists_the_extras() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    text = (DOCS / "install.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE))
    assert listed == set(project["project"]["optional-dependencies"])


def test_measured_names_the_command_of_each_benchmark() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    text = (DOCS / "measured.md").read_text(encoding="utf-8")
    for script in (PROJECT / "benchmarks").glob("*.py"):
        target = "bench" if script.stem == "batching" else f"bench-{script.stem}"
        assert f"make {target}" in text, script
        assert target in makefile


def test_picture_of_the_architecture_is_told_in_words() -> None:
    root = ET.parse(DOCS / "assets" / "architecture.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    by_id = {element.get("id"): element.text or "" for element in root}
    assert root.get("role") == "img"
    title, text = (by_id[key] for key in (root.get("aria-labelledby") or "").split())
    assert title
    assert "imports go" in text or "import" in text
    drawn = " ".join("".join(t.itertext()) for t in root.iter(f"{name}text"))
    for part in ("rootml.batching", "rootml.bdt", "rootml.sbi", "morphing", "Dataset"):
        assert part in drawn
        assert part in text


def test_notebooks_are_those_of_the_programs() -> None:
    """The site shows what these cells printed and drew; `make notebooks` runs them again."""
    pytest.importorskip("jupytext")
    notebooks = hook("notebooks")
    scripts = {path.stem for path in (PROJECT / "tutorials").glob("*.py")}
    assert scripts >= notebooks.WITHOUT
    shown = sorted(scripts - notebooks.WITHOUT)
    assert [name for name in shown if not notebooks.is_current(name)] == []


def test_pictures_are_those_of_the_programs_of_their_pages() -> None:
    """`make pictures` draws them again."""
    pictures = hook("pictures")
    drawn = ["analysis", "bdt", "diagnostics", "morphing", "plots", "ratios", "trust"]
    assert pictures.pages() == drawn
    assert [page for page in pictures.pages() if not pictures.is_current(page)] == []


def test_pages_of_tutorials_show_outputs_and_pictures(site: Path) -> None:
    for notebook in sorted((DOCS / "tutorials").glob("*.ipynb")):
        folder = site / "tutorials" / notebook.stem
        text = (folder / "index.html").read_text(encoding="utf-8")
        assert f"{notebook.name}" in text
        assert (site / "tutorials" / notebook.name).read_bytes() == notebook.read_bytes()
        assert "Output" in text, notebook
        drawn = notebook.read_text(encoding="utf-8").count('"image/png"')
        assert text.count("What this draws") == drawn
        assert len(list((site / "tutorials").glob(f"{notebook.stem}-*.png"))) == drawn


def test_every_tutorial_is_a_page(site: Path) -> None:
    """Its title as the heading, its text as text, its code as code; the list leads to it."""
    scripts = sorted((PROJECT / "tutorials").glob("*.py"))
    listed = page(site / "tutorials" / "index.html").links
    assert len(scripts) > 10
    for script in scripts:
        text = (site / "tutorials" / script.stem / "index.html").read_text(encoding="utf-8")
        assert "language-python" in text, script
        assert "# %%" not in text, script
        assert f"{script.stem}/" in listed, script
