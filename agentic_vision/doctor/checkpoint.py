"""Is the checkpoint that ships with the package here, and whole? Its weights against the hash that pip noted."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from importlib.metadata import PackageNotFoundError, files
from pathlib import PurePosixPath

from .finding import Finding, Health

PACKAGE = "agentic-vision"
WEIGHTS = PurePosixPath("agentic_vision/policies/embedded_checkpoint/model.safetensors")
NAME = "embedded checkpoint"


def checkpoint() -> Iterator[Finding]:
    """Without torch: whether it can be read, and is what was installed. Whether it loads, `local_checks` says."""
    mend = f"pip install --force-reinstall --no-deps {PACKAGE}"
    folder = resources.files("agentic_vision.policies") / WEIGHTS.parent.name
    try:
        content = (folder / WEIGHTS.name).read_bytes()
    except OSError as error:
        yield Finding(NAME, Health.BROKEN, f"its weights cannot be read ({error.strerror or error})", mend)
        return
    digest = hashlib.sha256(content)
    said = f"{len(content) / 1e6:.1f} MB, sha256 {digest.hexdigest()[:16]}"
    noted = _noted()
    if noted is None:
        yield Finding(NAME, Health.OK, said)
    elif noted == base64.urlsafe_b64encode(digest.digest()).decode().rstrip("="):
        yield Finding(NAME, Health.OK, f"{said}, as it was installed")
    else:
        yield Finding(NAME, Health.BROKEN, f"{said}: not the weights that were installed", mend)


def _noted() -> str | None:
    """The hash of the weights in the install's own list of files; an editable install has none of it."""
    try:
        listed = files(PACKAGE) or ()
    except PackageNotFoundError:
        return None
    return next((str(file.hash.value) for file in listed if file == WEIGHTS and file.hash is not None), None)
