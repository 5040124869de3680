"""The catalogue of errors: every class is there, and its program raises it with those words."""

from __future__ import annotations

import doctest
import os
from pathlib import Path

import pytest
from built_site import built_site, hook, page

import rootml

CATALOGUE = hook("error_catalogue")
NAMES = sorted(set(rootml.errors.__all__) - {"RootmlError", "located", "nearest"})
EXAMPLES = {name: said for name, said in CATALOGUE.words().items() if "example" in said}


def test_every_error_is_described() -> None:
    assert sorted(CATALOGUE.words()) == NAMES
    for name, said in CATALOGUE.words().items():
        assert said["when"].endswith("."), name
        assert said["do"].endswith("."), name
        assert ("example" in said) == ("message" in said), name
    assert len(EXAMPLES) > len(NAMES) * 0.7


def test_classes_are_those_of_the_module() -> None:
    for error in CATALOGUE.error_classes()[1:]:
        there = getattr(rootml.errors, error.name)
        assert [base.__name__ for base in there.__bases__] == list(error.bases)


def test_every_error_has_its_place_on_the_page(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = built_site(tmp_path_factory)
    assert set(NAMES) <= page(site / "errors" / "index.html").ids


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_program_raises_the_error(
    name: str, collision_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in collision_files:
        os.link(file, tmp_path / file.name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(rootml.errors.RootmlError) as caught:
        exec(compile(EXAMPLES[name]["example"], f"<{name}>", "exec", dont_inherit=True), {})
    assert type(caught.value).__name__ == name
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    expected, said = EXAMPLES[name]["message"] + "\n", str(caught.value) + "\n"
    assert doctest.OutputChecker().check_output(expected, said, options), said
