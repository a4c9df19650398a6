"""The folder of a stress run: what was asked, who is in the tournament, and their networks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from structure_net.errors import RunError
from structure_net.files import write_text


@dataclass(frozen=True, slots=True)
class StressRequest:
    """What a stress run is asked for.

    Args:
        networks: How many take part; at least 4.
        dataset: A registered name, or the path of an ``.npz`` file; mapped from the cache.
        steps: Training steps of each network in each generation; at least 1.
        batch_size: Samples a step; at least 1.
        seed: Decides first networks, data and edits.

    Raises:
        RunError: A value is out of its range.
    """

    networks: int = 64
    dataset: str = "digits"
    steps: int = 30
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"networks": 4, "steps": 1, "batch_size": 1, "seed": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value < bound:
                raise RunError(f"{name} must be at least {bound}; got {value}.")


@dataclass(frozen=True, slots=True)
class Member:
    """One network of the tournament, as it entered a generation.

    Args:
        number: No other network has it.
        parent: The number of the network that it was made from; None for a first one.
        file: Its checkpoint; empty where it is yet to be drawn.
    """

    number: int
    parent: int | None = None
    file: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a tournament stands: at the beginning of a generation.

    Args:
        request: What was asked.
        members: Who takes part.
        generation: Which, from 0.
        next_number: The number of the next network that is born.
        seconds: Wall-clock time so far.
        last_record: The number of the last record that belongs to earlier generations.
    """

    request: StressRequest
    members: tuple[Member, ...]
    generation: int = 0
    next_number: int = 0
    seconds: float = 0.0
    last_record: int = 0


@dataclass(frozen=True, slots=True)
class StressFolder:
    """The places of a stress run's files under ``path``."""

    path: Path

    @property
    def state(self) -> Path:
        """Where the tournament stands, replaced whole after each generation."""
        return self.path / "stress.json"

    @property
    def records(self) -> Path:
        """The spool."""
        return self.path / "records"

    @property
    def population(self) -> Path:
        """The networks, which are in memory one at a time."""
        return self.path / "population"

    @property
    def picture(self) -> Path:
        """Memory over time."""
        return self.path / "memory.png"

    @property
    def report(self) -> Path:
        """The verdict, in words and numbers."""
        return self.path / "report.md"

    def write(self, standing: Standing) -> None:
        """Writes where the tournament stands, and removes networks that left it."""
        write_text(self.state, json.dumps(asdict(standing), indent=1) + "\n")
        kept = {member.file for member in standing.members}
        for path in self.population.iterdir():
            if path.suffix == ".safetensors" and path.name not in kept:
                path.unlink()

    def read(self) -> Standing | None:
        """Where the tournament stands; None if it has not begun.

        Raises:
            RunError: The file is damaged.
        """
        try:
            found = json.loads(self.state.read_bytes())
            members = tuple(Member(**one) for one in found.pop("members"))
            return Standing(StressRequest(**found.pop("request")), members, **found)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.state} is damaged: {error}. Choose another --out, or remove the folder."
            ) from error


def stress_folder(path: str | Path, request: StressRequest) -> tuple[StressFolder, Standing]:
    """The folder of a stress run that begins or goes on, and where it stands.

    Raises:
        RunError: The folder holds something else, or a stress run that was asked for other things.
    """
    folder = StressFolder(Path(path))
    standing = folder.read()
    if standing is None:
        if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
            raise RunError(f"{path} exists and holds no stress run. Choose another --out.")
        folder.population.mkdir(parents=True, exist_ok=True)
        members = tuple(Member(number) for number in range(request.networks))
        standing = Standing(request, members, next_number=request.networks)
        folder.write(standing)
        return folder, standing
    if standing.request != request:
        raise RunError(
            f"{path} holds a stress run with {standing.request}; got {request}. Ask for the same to"
            " go on with it, or choose another --out."
        )
    return folder, standing
