"""The few questions that are put to a W&B server directly, with a time limit on each."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final

from structure_net.errors import TrackingError

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

    Args:
        base_url: The server.
        key: For it.
        query: In GraphQL.
        variables: Of the query.
        seconds: How long to wait for the answer.

    Raises:
        TrackingError: The server cannot be reached, refuses the key, or answers with an error.
    """
    body = json.dumps({"query": query, "variables": dict(variables)}).encode()
    secret = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {secret}"}
    request = urllib.request.Request(f"{base_url}/graphql", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=max(0.1, seconds)) as answer:
            found = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            raise TrackingError(_refused(base_url, error.code)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise TrackingError(
            f"{base_url} cannot be reached: {_words(error)}. The queue is kept; try again later."
        ) from error
    if not isinstance(found, dict) or found.get("errors") or found.get("data") is None:
        said = found.get("errors") if isinstance(found, dict) else found
        raise TrackingError(f"{base_url} answers with an error: {json.dumps(said)[:300]}")
    data: dict[str, Any] = found["data"]
    return data


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error or type(error).__name__)


def _refused(base_url: str, code: int) -> str:
    if code in (401, 403):
        return f"{base_url} refuses the key (status {code}). Run `wandb login --relogin`."
    return f"{base_url} answers with status {code}. The queue is kept; try again later."
