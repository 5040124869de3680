"""The one door through which optional packages are imported."""

from __future__ import annotations

import importlib
from types import ModuleType

from rootml.errors import MissingPackageError


def optional_import(module: str, *, feature: str, extra: str) -> ModuleType:
    """Import `module`, or say which feature needs it and which extra brings it.

    Args:
        module: Dotted name of the module to import, e.g. ``"torch.utils.data"``.
        feature: What the user was doing, e.g. ``"BatchLoader.torch()"``.
        extra: The extra of rootml that installs it, e.g. ``"torch"``.

    Raises:
        MissingPackageError: The package is not installed.

    >>> optional_import("json", feature="an example", extra="none").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".", maxsplit=1)[0]
        if error.name is None or error.name.split(".", maxsplit=1)[0] != package:
            raise  # the package is there, something it needs is not: its own message is better
        message = (
            f"{feature} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'rootml[{extra}]'"
        )
        raise MissingPackageError(message, name=package) from error
