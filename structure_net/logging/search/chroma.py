"""ChromaDB as an engine: embedded, offline, with our own vectors. The one module that knows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from structure_net._optional import missing
from structure_net.logging.search.embedding import padded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from structure_net.logging.search.rows import Rows

_AT_ONCE: Final = 1000
_SEARCHED: Final = 400
_GRAPH: Final[dict[str, Any]] = {
    "space": "l2",
    "ef_construction": 200,
    "ef_search": _SEARCHED,
    "max_neighbors": 32,
}
_CONFIGURATION: Final[Any] = {"hnsw": _GRAPH}
_TRAITS: Final = "traits"
_STRUCTURE: Final = "structure"


class Chroma:
    """Finds rows that may be the nearest; who is, the exact scores of these decide.

    Rows that another process adds are counted but not found by ChromaDB. `known` says which rows it
    can find: those that were there when this was opened, and those that came through `follow`.

    Args:
        folder: Its own folder.

    Raises:
        ImportError: chromadb is not installed; it comes with the extra ``search``.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import chromadb
            from chromadb.config import Settings
        except ImportError as error:
            raise missing("chromadb", "search", error) from error
        settings = Settings(anonymized_telemetry=False, allow_reset=False)
        self._client: Any = chromadb.PersistentClient(str(folder), settings=settings)
        self._collections: dict[str, Any] = {
            name: self._client.get_or_create_collection(
                name, embedding_function=None, configuration=_CONFIGURATION
            )
            for name in (_TRAITS, _STRUCTURE)
        }
        self.known = self._held()

    def follow(self, rows: Rows) -> None:
        """Brings its own store to ``rows``; only the one writer of an index may ask for it."""
        gone = [str(one) for one in np.setdiff1d(self.known, rows.ids)]
        new = np.flatnonzero(~np.isin(rows.ids, self.known))
        for name, vectors in ((_TRAITS, rows.traits), (_STRUCTURE, rows.structure)):
            collection = self._collections[name]
            for start in range(0, len(gone), _AT_ONCE):
                collection.delete(ids=gone[start : start + _AT_ONCE])
            for start in range(0, len(new), _AT_ONCE):
                places = new[start : start + _AT_ONCE]
                found = vectors[places]
                # A kill may have left a row in one of the two collections.
                collection.upsert(
                    ids=[str(one) for one in rows.ids[places]],
                    embeddings=padded(found) if name == _TRAITS else found,
                )
        self.known = rows.ids

    def near(self, name: str, vector: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """The ids of about ``count`` rows near a vector, of ``"traits"`` or of ``"structure"``."""
        asked = np.append(vector, np.float32(0)) if name == _TRAITS else vector
        found = self._collections[name].query(
            query_embeddings=[asked], n_results=min(count, _SEARCHED), include=[]
        )
        return np.array([int(one) for one in found["ids"][0]], dtype=np.int64)

    def close(self) -> None:
        """Lets go of the files."""
        self._client.close()

    def _held(self) -> NDArray[np.int64]:
        """The rows that both collections hold, ascending."""
        traits, structure = (
            np.array([int(one) for one in collection.get(include=[])["ids"]], dtype=np.int64)
            for collection in self._collections.values()
        )
        return np.intersect1d(traits, structure)
