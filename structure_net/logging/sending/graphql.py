"""The few questions that are put to a W&B server directly, with a time limit on each."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from queue import Empty, SimpleQueue
from typing import Any, Final

from structure_net.errors import TrackingError

_LARGEST: Final = 1 << 28
"""Bytes of an answer."""

VIEWER: Final = "query Viewer { viewer { entity username } }"

# The query by which W&B's own client reads a run's history; steps from min to max - 1.
ROWS: Final = """query HistoryPage($entity: String!, $project: String!, $run: String!,
 $minStep: Int64!, $maxStep: Int64!, $pageSize: Int!) {
 project(name: $project, entityName: $entity) { run(name: $run) {
  history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) } } }"""

# A page of the runs of these names; `filters` is JSON in the words of W&B's own client.
TRIALS: Final = """query ArrivedTrials($entity: String!, $project: String!, $filters: JSONString!,
 $first: Int!) { project(name: $project, entityName: $entity) {
 runs(filters: $filters, first: $first) { edges { node { name summaryMetrics } } } } }"""

_EDGES: Final = """{ edges { node { state metadata artifactSequence { name } } }
 pageInfo { endCursor hasNextPage } }"""

ARTIFACTS: Final = f"""query ArrivedArtifacts($entity: String!, $project: String!, $run: String!,
 $made: String, $used: String) {{ project(name: $project, entityName: $entity) {{ run(name: $run) {{
  outputArtifacts(first: 100, after: $made) {_EDGES}
  inputArtifacts(first: 100, after: $used) {_EDGES} }} }} }}"""


def ask(
    base_url: str, key: str, query: str, variables: Mapping[str, Any], *, seconds: float
) -> dict[str, Any]:
    """The answer to a query.

    A server that leads elsewhere is not followed: the key is for this one.

    Args:
        base_url: The server.
        key: For it.
        query: In GraphQL.
        variables: Of the query.
        seconds: How long to wait for the whole answer, however slowly it comes.

    Raises:
        TrackingError: The server cannot be reached, refuses the key, or answers with an error.
    """
    body = json.dumps({"query": query, "variables": dict(variables)}).encode()
    secret = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {secret}"}
    request = urllib.request.Request(f"{base_url}/graphql", body, headers)
    content = _within(base_url, seconds, lambda: _answer(base_url, request, seconds))
    with understood(base_url):
        found = json.loads(content)
    if not isinstance(found, dict) or found.get("errors") or found.get("data") is None:
        said = found.get("errors") if isinstance(found, dict) else found
        raise TrackingError(f"{base_url} answers with an error: {json.dumps(said)[:300]}")
    data: dict[str, Any] = found["data"]
    return data


@contextmanager
def understood(base_url: str) -> Iterator[None]:
    """Makes of an answer that cannot be read, in the block inside, an error that says so.

    Raises:
        TrackingError: It cannot.
    """
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise TrackingError(
            f"{base_url} answers with something else than W&B would ({said}). Is that the address "
            "of a W&B server? The queue is kept."
        ) from error


class _Staying(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follows nowhere, so that the redirection is an error with its status."""


def _answer(base_url: str, request: urllib.request.Request, seconds: float) -> bytes:
    try:
        with urllib.request.build_opener(_Staying).open(request, timeout=seconds) as answer:
            content: bytes = answer.read(_LARGEST + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(base_url, error) from error
    except (OSError, HTTPException, ValueError) as error:
        raise TrackingError(
            f"{base_url} cannot be reached: {_words(error)}. The queue is kept; try again later."
        ) from error
    if len(content) > _LARGEST:
        raise TrackingError(f"{base_url} answers with more than {_LARGEST >> 20} MiB at once.")
    return content


def _within(base_url: str, seconds: float, work: Callable[[], bytes]) -> bytes:
    """What ``work`` returns or raises; where it takes too long it is left behind.

    A time limit of a socket is one for each packet: a server that answers by the byte keeps to it.

    Raises:
        TrackingError: It takes longer than ``seconds``.
    """
    ended: SimpleQueue[bytes | TrackingError] = SimpleQueue()

    def told() -> None:
        try:
            ended.put(work())
        except TrackingError as error:
            ended.put(error)

    threading.Thread(target=told, name="asking", daemon=True).start()
    try:
        found = ended.get(timeout=max(0.0, seconds))
    except Empty:
        raise TrackingError(
            f"{base_url} cannot be reached: it gave no whole answer within {seconds:.3g} s. The "
            "queue is kept; try again later."
        ) from None
    if isinstance(found, TrackingError):
        raise found
    return found


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error or type(error).__name__)


def _refused(base_url: str, error: urllib.error.HTTPError) -> TrackingError:
    if error.code in (401, 403):
        return TrackingError(
            f"{base_url} refuses the key (status {error.code}). Run `wandb login --relogin`."
        )
    if 300 <= error.code < 400:
        return TrackingError(
            f"{base_url} answers with status {error.code}: ask "
            f"{error.headers.get('Location', 'elsewhere')!r:.200}. The key is not sent there. If "
            "that is your server, name it by `wandb login --host` or WANDB_BASE_URL."
        )
    wait = _asked_to_wait(error)
    later = f"it asks to be left alone for {wait:.0f} s" if wait else "try again later"
    return TrackingError(
        f"{base_url} answers with status {error.code}. The queue is kept; {later}.", wait=wait
    )


def _asked_to_wait(error: urllib.error.HTTPError) -> float:
    """The seconds of ``Retry-After``; a date in it depends on two clocks and counts as none."""
    said = error.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() and len(said) < 8 else 0.0
