"""Finds components: those of the package, those of installed packages, and a user's own file.

The same function runs on the driver and on every Ray worker, so that both know the same repository.
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import pkgutil
import sys
import zlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from autoflow.components.registry import registered
from autoflow.errors import AutoFlowError, UsageError

_PACKAGES = ("feature_extraction", "concatenation", "classification")


@dataclass(frozen=True)
class ComponentFile:
    """A user's component file as text, so that it reaches workers on other machines.

    Args:
        name: file name for messages.
        source: its Python source.
    """

    name: str
    source: str

    @classmethod
    def read(cls, path: Path) -> ComponentFile:
        """Reads the file; raises UsageError where it cannot be read."""
        try:
            return cls(str(path), path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--components {path}: cannot be read ({error})") from error


def discover(files: tuple[ComponentFile, ...] = ()) -> None:
    """Registers all components; a second call costs nothing.

    Args:
        files: the user's own files.

    Raises:
        UsageError: a user's file or an installed package raises while it is imported, or the file registers
            no component.
    """
    for package in _PACKAGES:
        parent = importlib.import_module(f"autoflow.components.{package}")
        for module in pkgutil.iter_modules(parent.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{parent.__name__}.{module.name}")
    for entry_point in entry_points(group="autoflow.components"):
        try:
            entry_point.load()
        except Exception as error:
            raise UsageError(
                f"component package {entry_point.value} cannot be imported: {error!r}"
            ) from error
    for file in files:
        _import_file(file)


def _import_file(file: ComponentFile) -> None:
    stem = "".join(c if c.isalnum() else "_" for c in Path(file.name).stem)
    # named by content: pickles find a class by its module, however the path was typed
    module_name = f"autoflow_user_{stem}_{zlib.crc32(file.source.encode()):08x}"
    if module_name in sys.modules:
        return
    module = ModuleType(module_name)
    module.__file__ = file.name
    sys.modules[module_name] = module
    before = registered()
    # inspect.getsource and tracebacks find the text here on workers that have no such file
    linecache.cache[file.name] = (len(file.source), None, file.source.splitlines(keepends=True), file.name)
    try:
        exec(compile(file.source, file.name, "exec"), module.__dict__)
    except AutoFlowError:
        del sys.modules[module_name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise UsageError(
            f"component file {file.name} raises {type(error).__name__}: {error}; "
            "mend it or leave out --components"
        ) from error
    if registered() == before:
        del sys.modules[module_name]
        raise UsageError(
            f"component file {file.name} registers no component; put @register (of "
            "autoflow.components.registry) and @dataclass(frozen=True) above a class that derives from "
            "FeatureExtractor, Concatenation or Classifier"
        )
