"""Whether there is a key for a W&B server, found out without asking anybody.

W&B's client asks at the terminal where it finds none, which would hold up a run for ever.
"""

from __future__ import annotations

import configparser
import netrc
import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from structure_net.errors import TrackingError

PUBLIC: Final = "https://api.wandb.ai"


def server(base_url: str | None = None) -> str:
    """The address of the server: ``base_url``, what wandb is set up for, or the public one."""
    found = base_url or os.environ.get("WANDB_BASE_URL") or _configured() or PUBLIC
    return found.rstrip("/")


def key_for(base_url: str | None = None) -> str | None:
    """The key for a server, from ``WANDB_API_KEY`` or the netrc file; None where there is none."""
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    for path in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        if path is None or not Path(path).expanduser().is_file():
            continue
        try:
            found = netrc.netrc(str(Path(path).expanduser()))
        except (netrc.NetrcParseError, OSError):
            continue
        host = urlsplit(server(base_url)).hostname or ""
        if (entry := found.hosts.get(host)) is not None:
            return entry[2]
    return None


def require_key(base_url: str | None = None) -> str:
    """The key for a server.

    Raises:
        TrackingError: There is none.
    """
    key = key_for(base_url)
    if key is None:
        raise TrackingError(
            f"There is no key for {server(base_url)}. Run `wandb login`, set WANDB_API_KEY, or "
            "stay offline: `structure-net sync` sends everything later."
        )
    return key


def _configured() -> str | None:
    """What ``wandb login --host`` wrote into wandb's settings."""
    folder = os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    reader = configparser.ConfigParser(interpolation=None)
    try:
        reader.read(Path(folder).expanduser() / "settings", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return None
    return reader.get("default", "base_url", fallback=None)
