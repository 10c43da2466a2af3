from __future__ import annotations

from pathlib import Path

import pytest

from jaxor.store import atomic
from jaxor.store.derived import derived, keep
from jaxor.store.errors import StoreError


@pytest.mark.parametrize("name", ["default", "a", "0", "My.fit_2-b", "a" * 64])
def test_a_name_is_a_place_under_derived(tmp_path: Path, name: str):
    assert derived(tmp_path, "fits", name) == tmp_path / "derived" / "fits" / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-a", "_a", "a/b", "../a", "a b", "a\n", "a\x00", "ä", "a" * 65, "/etc/passwd"]
)
def test_other_names_are_refused(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="a name has letters, digits"):
        derived(tmp_path, "fits", name)


@pytest.mark.parametrize("link", ["derived", "derived/fits", "derived/fits/default"])
def test_links_are_refused(tmp_path: Path, link: str):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link, which a run directory must not hold; remove it"):
        derived(tmp_path, "fits", "default")


def test_keep_makes_folders_and_takes_the_place_of_what_was_there(tmp_path: Path):
    path = derived(tmp_path, "fits", "a.json")
    keep(path, b"old")
    keep(path, b"new")
    assert path.read_bytes() == b"new" and [*path.parent.iterdir()] == [path]


def test_keep_replaces_a_link_and_not_what_it_points_to(tmp_path: Path):
    path, other = derived(tmp_path, "fits", "a.json"), tmp_path / "other"
    other.write_bytes(b"precious")
    path.parent.mkdir(parents=True)
    path.symlink_to(other)
    keep(path, b"new")
    assert other.read_bytes() == b"precious" and path.read_bytes() == b"new" and not path.is_symlink()


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = derived(tmp_path, "fits", "a.json")
    keep(path, b"old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keep(path, b"new")
    assert path.read_bytes() == b"old" and [*path.parent.iterdir()] == [path]
