"""What the analyzers found, merged into one flat mapping whose values may be computed late."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from structure_net.errors import MissingAnalysisError, StructureNetError

Providers = Callable[[str], Iterable[str]]


class Lazy:
    """A value of an analysis that is computed when it is first read, and at most once.

    Args:
        compute: Takes nothing. It must not depend on anything that changes until it is read.
    """

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute: Callable[[], Any] | None = compute
        self._value: Any = None

    @property
    def computed(self) -> bool:
        """Whether it has been read."""
        return self._compute is None

    def get(self) -> Any:
        """The value."""
        if self._compute is not None:
            self._value, self._compute = self._compute(), None
        return self._value


class Analysis(Mapping[str, Any]):
    """The flat merge of what analyzers returned.

    ``analysis[key]`` of a missing key is a `MissingAnalysisError` that says who asked, what there
    is and which analyzer provides it; ``analysis.get(key, default)`` and ``key in analysis`` work
    as for a dict.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        sources: Mapping[str, str],
        reader: str = "",
        providers: Providers | None = None,
    ) -> None:
        self._values = values
        self._sources = sources
        self._reader = reader
        self._providers = providers

    @classmethod
    def merged(
        cls, found: Mapping[str, Mapping[str, Any]], providers: Providers | None = None
    ) -> Analysis:
        """The merge of what each analyzer found, by the analyzer's name.

        Args:
            found: What each analyzer returned.
            providers: Names the analyzers that provide a key.

        Raises:
            StructureNetError: Two analyzers provide the same key.
        """
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for analyzer, part in found.items():
            for key, value in part.items():
                if key in sources:
                    raise StructureNetError(
                        f"{analyzer} provides {key!r}, which {sources[key]} already provides."
                        " Rename one of them, or leave one analyzer out."
                    )
                values[key], sources[key] = value, analyzer
        return cls(values, sources, providers=providers)

    def read_by(self, reader: str) -> Analysis:
        """The same analysis, whose errors name ``reader``."""
        return Analysis(self._values, self._sources, reader, self._providers)

    @property
    def computed(self) -> tuple[str, ...]:
        """The keys whose values are there already: reading them computes nothing."""
        values = self._values.items()
        return tuple(k for k, value in values if not isinstance(value, Lazy) or value.computed)

    def require(self, keys: frozenset[str]) -> None:
        """Checks that all of ``keys`` are there.

        Raises:
            MissingAnalysisError: One is not.
        """
        for key in sorted(keys):
            if key not in self._values:
                raise self._missing(key)

    def _missing(self, key: str) -> MissingAnalysisError:
        known = ", ".join(sorted(self._values)) or "nothing"
        named = self._providers(key) if self._providers is not None else ()
        way = " or ".join(f"system.add_component({name}())" for name in named)
        return MissingAnalysisError(
            f"{self._reader or 'The reader'} needs {key!r}, which no analyzer of this system"
            f" provides (there is: {known})."
            f" {f'{way} adds one that does' if way else 'Add an analyzer that does'}."
        )

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            raise self._missing(key)
        value = self._values[key]
        return value.get() if isinstance(value, Lazy) else value

    def get(self, key: str, default: Any = None) -> Any:
        """The value of ``key``, or ``default``."""
        return self[key] if key in self._values else default

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Analysis({', '.join(self._values)})"
