"""The store: converted once, found again, and never twice at the same time."""

import multiprocessing
import os
import threading
from pathlib import Path

import platformdirs
import pytest

from jaxgen.checkpoints import huggingface, manifest, store
from jaxgen.checkpoints.convert import convert, partial_prefix
from jaxgen.errors import UserError
from jaxgen.specs.model import Model
from support import checkpoint_folders


@pytest.fixture
def folder(tmp_path):
    return checkpoint_folders.write(tmp_path / "My source!")


def model(folder, tmp_path, **fields) -> Model:
    return Model(name="m", source=str(folder), store=str(tmp_path / "store"), **fields)


def count_conversions(monkeypatch) -> list[Path]:
    made = []

    def counted(source, dest, **options):
        made.append(dest)
        convert(source, dest, **options)

    monkeypatch.setattr(store, "convert", counted)
    return made


def test_a_source_is_converted_once_and_reused(folder, tmp_path, monkeypatch):
    made = count_conversions(monkeypatch)
    first, second = (store.converted(model(folder, tmp_path)) for _ in range(2))
    assert made == [first] == [second]
    assert first.parent == tmp_path / "store"
    assert first.name.startswith("My-source-")
    assert manifest.read(first).manifest.source == str(folder)


def _newer_weights(folder):
    path = folder / "model.safetensors"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def _other_config(folder):
    stat = (folder / "config.json").stat()
    text = (folder / "config.json").read_text().replace("500.0", "501.0")
    (folder / "config.json").write_text(text)
    os.utime(folder / "config.json", ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    "change", [_newer_weights, _other_config, checkpoint_folders.add_tokenizer]
)
def test_a_changed_source_is_converted_again(change, folder, tmp_path):
    first = store.converted(model(folder, tmp_path))
    change(folder)
    assert store.converted(model(folder, tmp_path)) != first


def test_a_relative_source_is_the_absolute_one(folder, tmp_path, monkeypatch):
    absolute = store.converted(model(folder, tmp_path))
    monkeypatch.chdir(folder.parent)
    assert store.converted(model(folder.name, tmp_path)) == absolute


def test_a_packages_model_is_found_in_the_package(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface, "_ASSETS", folder.parent)
    path = store.converted(model(f"package:{folder.name}", tmp_path))
    assert manifest.read(path).manifest.source == f"package:{folder.name}"


def test_a_given_checkpoint_goes_before_the_source(folder, tmp_path):
    convert(str(folder), tmp_path / "mine")
    given = model(tmp_path / "nowhere", tmp_path, checkpoint=str(tmp_path / "mine"))
    assert store.converted(given) == tmp_path / "mine"
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("there", [True, False], ids=["a folder of something else", "no folder"])
def test_a_given_checkpoint_has_to_be_one(there, tmp_path):
    if there:
        (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match=r"mine.*python -m jaxgen\.convert"):
        store.converted(Model(name="m", checkpoint=str(tmp_path / "mine")))


def test_the_default_store_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    assert store.default_store() == tmp_path / "jaxgen" / "checkpoints"


def test_an_unwritable_store_is_refused(folder, tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*model\.store=DIR"):
        store.converted(model(folder, tmp_path))


def test_what_a_killed_conversion_left_is_removed(folder, tmp_path):
    path = store.converted(model(folder, tmp_path))
    path.rename(tmp_path / "elsewhere")
    left = path.parent / f"{partial_prefix(path)}abc"
    left.mkdir()
    assert store.converted(model(folder, tmp_path)) == path
    assert not left.exists()


def test_a_source_that_cannot_be_converted_leaves_no_checkpoint(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    for _ in range(2):
        with pytest.raises(UserError, match="neither"):
            store.converted(model(folder, tmp_path))
    assert [path for path in (tmp_path / "store").iterdir() if path.is_dir()] == []


def test_the_second_of_two_at_a_time_waits_and_reuses(folder, tmp_path, monkeypatch):
    made, started, waiting = count_conversions(monkeypatch), threading.Event(), threading.Event()
    paths = []

    def slowly(stage, done, total):
        started.set()
        assert waiting.wait(30)

    def impatient(stage, done, total):
        assert stage == "wait"
        waiting.set()

    def run(progress):
        paths.append(store.converted(model(folder, tmp_path), progress=progress))

    first = threading.Thread(target=run, args=(slowly,))
    first.start()
    assert started.wait(30)
    run(impatient)
    first.join()
    assert paths[0] == paths[1]
    assert len(made) == 1


def _convert_in_a_process(source: str, directory: str, results) -> None:
    results.put(str(store.converted(model(source, Path(directory)))))


@pytest.mark.slow
def test_two_processes_at_a_time_make_one_checkpoint(folder, tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [
        context.Process(target=_convert_in_a_process, args=(str(folder), str(tmp_path), results))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    paths = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(paths) == 1
    folders = [path for path in (tmp_path / "store").iterdir() if path.is_dir()]
    assert [str(path) for path in folders] == list(paths)
    results.close()
    results.join_thread()
