"""What the import contracts cannot see: folders that are no packages, and modules of a size to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.paths import REPOSITORY

LIMIT = 400
FOLDERS = ("operator", "trainer_image", "guard", "gateway", "dev")
MODULES = [path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.py"))]


@pytest.mark.parametrize("folder", ["operator", "trainer_image", "guard", "gateway"])
def test_a_project_folder_is_no_package(folder: str) -> None:
    """As a package, operator/ would hide the module of the standard library."""
    assert (REPOSITORY / folder).is_dir()
    assert not (REPOSITORY / folder / "__init__.py").exists()


def test_the_standard_librarys_operator_is_what_is_imported() -> None:
    import operator

    assert not Path(str(operator.__file__)).is_relative_to(REPOSITORY)


def test_no_module_has_more_than_400_lines() -> None:
    assert len(MODULES) > 100
    lengths = {str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > LIMIT} == {}
