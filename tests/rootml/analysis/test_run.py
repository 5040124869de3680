"""Steps are skipped, resumed, made anew and protected; their records say what they are made of."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from analysis_files import FOREST, HEAD, PICTURE, columns, write_analysis

import rootml
from rootml.analysis import Analysis, load_analysis
from rootml.analysis._runner import locked
from rootml.analysis._step import Context
from rootml.analysis.steps._histogram import Histogram
from rootml.errors import ChangedFileError, CorruptFileError, StateError, UsageError

pytest.importorskip("hist")
pytest.importorskip("matplotlib")
SECOND = PICTURE.replace("step.picture", "step.second").replace('"z"', '"x"')


def ran(analysis: Analysis, **options: Any) -> list[str]:
    """Names of the steps that ran."""
    return [each.name for each in analysis.run(progress=False, **options) if each.ran]


def actions(analysis: Analysis, **options: Any) -> dict[str, str]:
    """What is planned for each step."""
    return {each.name: each.action for each in analysis.plan(**options)}


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures, but where they are looked at: drawing takes longer than all else."""
    if "real_pictures" in request.fixturenames:
        return

    def picture(self: Context, name: str, _: Any) -> None:
        (self.folder / f"{name}.png").write_text(self.name, "utf-8")

    monkeypatch.setattr("rootml.plot.data_mc", lambda *_, **__: None)
    monkeypatch.setattr(Context, "picture", picture)


@pytest.fixture
def real_pictures() -> None:
    """Draw them."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An analysis of two pictures."""
    return write_analysis(tmp_path, PICTURE, SECOND)


def output(path: Path, *names: str) -> Path:
    return path.parent.joinpath("analysis-output", *names)


def test_what_is_up_to_date_is_skipped(path: Path) -> None:
    assert actions(load_analysis(path)) == dict.fromkeys(("picture", "second", "report"), "run")
    assert ran(load_analysis(path)) == ["picture", "second", "report"]
    before = output(path, "picture", "histogram.png").stat().st_mtime_ns
    assert ran(load_analysis(path)) == []
    assert output(path, "picture", "histogram.png").stat().st_mtime_ns == before


def test_planning_writes_nothing(path: Path) -> None:
    load_analysis(path).plan()
    assert not output(path).exists()


def test_another_setting_runs_that_step_alone(path: Path) -> None:
    load_analysis(path).run(progress=False)
    path.write_text(path.read_text("utf-8").replace('column = "x"', 'column = "y"'), "utf-8")
    plan = {each.name: each for each in load_analysis(path).plan()}
    assert [each.action for each in plan.values()] == ["skip", "run", "perhaps"]
    assert plan["second"].reason == "changed: column"
    assert ran(load_analysis(path)) == ["second", "report"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("x > -3", "x > -2", "sample S"),
        ("weight = 0.5", "weight = 0.25", "changed: sample B"),
        ("seed = 3", "seed = 4", "changed: seed"),
        ("test = 0.4", "test = 0.3", "changed: test"),
    ],
)
def test_what_all_share_runs_all_that_use_it(path: Path, old: str, new: str, reason: str) -> None:
    load_analysis(path).run(progress=False)
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    plan = load_analysis(path).plan()
    assert [each.action for each in plan] == ["run", "run", "run"]
    assert reason in plan[0].reason


def test_a_file_that_changed_runs_what_reads_it(path: Path) -> None:
    load_analysis(path).run(progress=False)
    more = columns(np.random.default_rng(9), 500, 0.0, 0)
    pq.write_table(pa.table(more), path.parent / "D.parquet")
    plan = load_analysis(path).plan()
    assert plan[0].reason == "changed: sample D"
    assert ran(load_analysis(path)) == ["picture", "second", "report"]
    found = load_analysis(path).result("second")["D"]
    inside = np.histogram(more["x"], [-4, -2, 0, 2, 4])[0]
    assert found["contents"][1:] == inside[1:].tolist()  # the cut is in the first bin


def test_another_version_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_analysis(path).run(progress=False)
    monkeypatch.setattr("rootml.analysis._software.__version__", "99.0")
    assert load_analysis(path).plan()[0].reason == "changed: version of rootml"


def test_the_same_result_made_again_runs_nothing_behind_it(path: Path) -> None:
    """The report stands on the pictures; made anew with the same content, they leave it alone."""
    load_analysis(path).run(progress=False)
    assert ran(load_analysis(path), force=["picture"]) == ["picture"]


def test_a_result_that_is_gone_is_made_again(path: Path) -> None:
    load_analysis(path).run(progress=False)
    output(path, "picture", "histogram.json").unlink()
    assert load_analysis(path).plan()[0].reason == "histogram.json is gone"
    assert ran(load_analysis(path)) == ["picture"]


def test_a_result_that_was_changed_by_hand_is_neither_used_nor_overwritten(path: Path) -> None:
    load_analysis(path).run(progress=False)
    file = output(path, "picture", "histogram.json")
    file.write_text(file.read_text("utf-8") + " ", "utf-8")
    for use in (load_analysis(path).plan, load_analysis(path).run):
        with pytest.raises(ChangedFileError, match=r"'picture'.*histogram\.json.*by hand"):
            use()
    with pytest.raises(ChangedFileError):
        load_analysis(path).result("picture")
    path.write_text(path.read_text("utf-8").replace('column = "z"', 'column = "y"'), "utf-8")
    with pytest.raises(ChangedFileError):  # also where it would be made anew
        load_analysis(path).run(progress=False)
    assert file.read_text("utf-8").endswith(" ")
    assert ran(load_analysis(path), force=["picture"]) == ["picture", "report"]


def test_a_copy_of_the_results_is_as_good(path: Path) -> None:
    """Times of files may change, contents not."""
    load_analysis(path).run(progress=False)
    shutil.copytree(output(path), output(path).with_name("copy"))
    shutil.rmtree(output(path))
    output(path).with_name("copy").rename(output(path))
    os.utime(output(path, "picture", "histogram.png"), (1, 1))
    assert ran(load_analysis(path)) == []


def test_a_damaged_record_is_named(path: Path) -> None:
    load_analysis(path).run(progress=False)
    output(path, "picture", "provenance.json").write_text("{}", "utf-8")
    with pytest.raises(CorruptFileError, match=r"provenance\.json"):
        load_analysis(path).plan()
    assert ran(load_analysis(path), force=["picture"]) == ["picture"]


def test_files_of_the_user_stay(path: Path) -> None:
    load_analysis(path).run(progress=False)
    note = output(path, "picture", "notes", "note.txt")
    note.parent.mkdir()
    note.write_text("mine", "utf-8")
    assert "picture" in ran(load_analysis(path), force=["picture"])
    assert note.read_text("utf-8") == "mine"


def test_only_and_force_know_the_steps(path: Path) -> None:
    analysis = load_analysis(path)
    assert ran(analysis, only=["second"]) == ["second"]
    assert actions(analysis, only=["second"]) == {
        "picture": "left out",
        "second": "skip",
        "report": "left out",
    }
    with pytest.raises(UsageError, match="only: no step 'secnd'; nearest: 'second'"):
        analysis.plan(only=["secnd"])
    with pytest.raises(UsageError, match="force: no step 'secnd'"):
        analysis.run(force=["secnd"])
    with pytest.raises(StateError, match=r"'report' needs 'picture'.*has never run"):
        analysis.run(only=["report"])
    assert ran(analysis, only=["second"], force=["all"]) == ["second"]


def test_only_does_not_mind_what_it_does_not_need(path: Path) -> None:
    load_analysis(path).run(progress=False)
    output(path, "picture", "histogram.json").write_text("changed", "utf-8")
    assert ran(load_analysis(path), only=["second"]) == []
    with pytest.raises(ChangedFileError, match="picture"):
        ran(load_analysis(path), only=["report"])


def test_what_was_finished_before_a_failure_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Histogram.run

    def fails(self: Histogram, context: Any) -> Any:
        if context.name == "second":
            (context.folder / "half.txt").write_text("half", "utf-8")
            raise KeyboardInterrupt
        return run(self, context)

    monkeypatch.setattr(Histogram, "run", fails)
    with pytest.raises(KeyboardInterrupt):
        load_analysis(path).run(progress=False)
    monkeypatch.undo()
    assert output(path, "picture", "histogram.png").exists()
    assert not output(path, "second").exists()
    assert ran(load_analysis(path)) == ["second", "report"]


def test_a_process_that_was_killed_when_it_had_finished_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rootml.analysis._runner.replace_folder", killed)
    with pytest.raises(KeyboardInterrupt):
        load_analysis(path).run(progress=False)
    monkeypatch.undo()
    (part,) = output(path).glob(".picture-*.part")
    before = (part / "histogram.png").stat().st_mtime_ns
    load_analysis(path).run(progress=False)
    assert output(path, "picture", "histogram.png").stat().st_mtime_ns == before
    assert list(output(path).glob(".*.part")) == []


def hold(path: str, ready: Any, done: Any) -> None:
    """Work in a folder, in another process."""
    with locked(Path(path)):
        ready.set()
        done.wait(60)


def test_two_runs_do_not_meet(path: Path) -> None:
    output(path).mkdir()
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(str(output(path, ".lock")), ready, done))
    process.start()
    try:
        assert ready.wait(60)
        with pytest.raises(StateError, match="another `rootml run`"):
            load_analysis(path).run()
    finally:
        done.set()
        process.join()
    assert ran(load_analysis(path))


def test_the_record_says_where_a_result_comes_from(path: Path) -> None:
    def git(*words: str) -> str:
        names = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(path.parent), *names, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", path.name)
    git("commit", "-q", "-m", "first")
    load_analysis(path).run(progress=False)
    record = json.loads(output(path, "picture", "provenance.json").read_text("utf-8"))
    assert record["git"] == {"commit": git("rev-parse", "HEAD"), "changed": False}
    assert record["software"]["rootml"] == rootml.__version__
    assert record["software"]["numpy"] == np.__version__
    assert record["seed"] == record["inputs"]["seed"]
    assert record["inputs"]["settings"]["column"] == "z"
    (file,) = record["files"]["D"]
    assert file["path"].endswith("D.parquet")
    assert file["size"] == (path.parent / "D.parquet").stat().st_size
    assert set(record["outputs"]) == {"histogram.png", "histogram.json"}


def test_every_output_says_where_it_comes_from(path: Path, real_pictures: None) -> None:
    image = pytest.importorskip("PIL.Image")
    load_analysis(path).run(progress=False)
    stamps = [
        json.loads(output(path, "picture", "histogram.json").read_text("utf-8"))["provenance"],
        json.loads(image.open(output(path, "picture", "histogram.png")).text["Comment"]),
    ]
    for stamp in stamps:
        assert stamp["step"] == "picture"
        assert stamp["software"]["rootml"] == rootml.__version__
        assert len(stamp["analysis"]["sha256"]) == 64
    page = output(path, "report", "report.html").read_text("utf-8")
    assert page.count("<img ") == 2
    assert page.count("Where it comes from") == 2
    assert stamps[0]["analysis"]["sha256"] in page


def test_names_are_escaped_in_the_report(tmp_path: Path, real_pictures: None) -> None:
    text = PICTURE.replace('column = "z"', 'column = "a = z < 2"').replace(
        "[-4, -2, 0, 2, 4]", "[-0.5, 0.5, 1.5]"
    )
    path = write_analysis(tmp_path, text, head='title = "<b>us</b>"\n' + HEAD)
    analysis = load_analysis(path)
    analysis.run(progress=False)
    page = analysis.report.read_text("utf-8")
    assert "<b>us" not in page
    assert "a = z &lt; 2" in page


def test_one_class_only_and_no_weight_are_named(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    empty = write_analysis(tmp_path, FOREST.replace("rounds", 'cut = "x > 1000"\nrounds'))
    with pytest.raises(rootml.errors.EmptySelectionError, match=r"\[step.forest\]: signal \(S\)"):
        load_analysis(empty).run(progress=False)
    head = HEAD.replace('"0.1 * w"', '"0 * w"')
    with pytest.raises(UsageError, match=r"\[step.forest\]: signal \(S\).*add up to 0"):
        load_analysis(write_analysis(tmp_path, FOREST, head=head)).run(progress=False)
