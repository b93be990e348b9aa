"""The component repository: refusals with both places, near names, JSON, and files of users."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoflow.components import discovery, registry
from autoflow.components.discovery import ComponentFile
from autoflow.components.registry import Role, from_json, lookup, name_of, names, register, role_of, to_json
from autoflow.errors import UsageError

SOURCE = '''
from dataclasses import dataclass
from autoflow.components.base import Concatenation
from autoflow.components.registry import register


@register
@dataclass(frozen=True)
class {name}(Concatenation):
    """Side by side."""

    @classmethod
    def sample(cls, hp, profile):
        return cls()

    def layer(self, widths):
        import keras

        return keras.layers.Concatenate()
'''


@pytest.fixture(autouse=True)
def _registry_as_it_was() -> Iterator[None]:
    discovery.discover()
    before = {role: dict(known) for role, known in registry._components.items()}
    modules = set(sys.modules)
    yield
    for role, known in before.items():
        registry._components[role].clear()
        registry._components[role].update(known)
    for name in set(sys.modules) - modules:
        if name.startswith("autoflow_user_"):
            del sys.modules[name]


def component_file(folder: Path, name: str, file_name: str = "mine.py") -> ComponentFile:
    path = folder / file_name
    path.write_text(SOURCE.format(name=name), encoding="utf-8")
    return ComponentFile.read(path)


def test_every_file_holds_the_component_of_its_name() -> None:
    for role in Role:
        folder = Path(sys.modules[f"autoflow.components.{role}"].__path__[0])
        files = {path.stem for path in folder.glob("*.py") if not path.name.startswith("_")}
        assert files == set(names(role))


def test_a_user_file_registers_its_component(tmp_path: Path) -> None:
    file = component_file(tmp_path, "SideBySide")
    discovery.discover((file,))
    discovery.discover((file,))
    component = lookup(Role.CONCATENATION, "side_by_side")
    assert from_json(Role.CONCATENATION, to_json(component())) == component()


def test_a_changed_user_file_replaces_its_component(tmp_path: Path) -> None:
    discovery.discover((component_file(tmp_path, "SideBySide"),))
    first = lookup(Role.CONCATENATION, "side_by_side")
    changed = component_file(tmp_path, "SideBySide")
    discovery.discover((ComponentFile(changed.name, changed.source + "\n# changed\n"),))
    assert lookup(Role.CONCATENATION, "side_by_side") is not first


def test_a_duplicate_names_both_places(tmp_path: Path) -> None:
    file = component_file(tmp_path, "PlainConcat")
    with pytest.raises(UsageError) as refusal:
        discovery.discover((file,))
    assert "plain_concat.py" in str(refusal.value)
    assert file.name in str(refusal.value)
    assert "twice" in str(refusal.value)


@pytest.mark.parametrize(
    ("broken", "word"),
    [("raise OSError('no')", "OSError"), ("raise SystemExit", "SystemExit"), ("def (", "SyntaxError")],
)
def test_a_user_file_that_raises_is_named(broken: str, word: str) -> None:
    with pytest.raises(UsageError, match=f"broken_one.py.*{word}"):
        discovery.discover((ComponentFile("broken_one.py", broken),))


def test_a_broken_file_stays_broken() -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match=r"broken_two\.py"):
            discovery.discover((ComponentFile("broken_two.py", "1 / 0"),))


def test_an_unreadable_user_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.py"):
        ComponentFile.read(tmp_path / "nowhere.py")


def test_files_of_one_name_in_two_folders_both_count(tmp_path: Path) -> None:
    for folder, name in (("one", "FirstMerge"), ("two", "SecondMerge")):
        (tmp_path / folder).mkdir()
        discovery.discover((component_file(tmp_path / folder, name),))
    assert {"first_merge", "second_merge"} <= set(names(Role.CONCATENATION))
    for name in ("first_merge", "second_merge"):
        component = lookup(Role.CONCATENATION, name)()
        assert pickle.loads(pickle.dumps(component)) == component


@pytest.mark.parametrize("wrong", ["plain_konkat", "PlainConcat"])
def test_unknown_names_answer_with_near_ones(wrong: str) -> None:
    with pytest.raises(UsageError, match="plain_concat"):
        lookup(Role.CONCATENATION, wrong)


def test_unknown_hyperparameters_answer_with_near_ones() -> None:
    with pytest.raises(UsageError, match="dimensions"):
        from_json(Role.CONCATENATION, {"component": "projected_sum", "dimension": 3})


def test_a_class_without_role_is_refused() -> None:
    @dataclass(frozen=True)
    class Stranger:
        """No component."""

    with pytest.raises(UsageError, match="Stranger"):
        register(Stranger)  # type: ignore[type-var]


def test_a_class_that_is_not_frozen_is_refused() -> None:
    base = lookup(Role.CONCATENATION, "plain_concat")

    class Loose(base):  # type: ignore[misc, valid-type]
        """Inherits a frozen dataclass, and is none itself."""

    class Plain:
        """No dataclass at all."""

    with pytest.raises(UsageError, match="Plain must be a frozen dataclass"):
        register(Plain)  # type: ignore[type-var]
    assert role_of(Loose) is Role.CONCATENATION


@pytest.mark.parametrize(
    ("class_name", "name"),
    [("OneHot", "one_hot"), ("TfidfWords", "tfidf_words"), ("MLP", "mlp"), ("GMUGate", "gmu_gate")],
)
def test_names_are_class_names_in_snake_case(class_name: str, name: str) -> None:
    assert name_of(type(class_name, (), {})) == name


def test_tuples_come_back_as_tuples() -> None:
    for role in Role:
        for name in names(role):
            value = lookup(role, name)()
            assert from_json(role, to_json(value)) == value
