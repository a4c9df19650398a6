"""What the stub of a W&B server answers to the queries of the real client and of ours."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.structure_net.logging.stub_state import Artifact, Run, State

ENTITY = "tester"


def answer(state: State, reject: set[str], asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to one query."""
    query, values = asked["query"], asked.get("variables") or {}
    head = re.search(r"(query|mutation)\s+(\w+)", query)
    name = head[2] if head else ""
    made = _ANSWERS.get(name)
    if made is None:
        return {"data": {}, "errors": [{"message": f"no answer to {name or query[:60]}"}]}
    if made is _commit:
        return _commit(state, values, reject)
    return {"data": made(state, values)}


def _project(project: str) -> dict[str, Any]:
    owner = {"id": "e1", "name": ENTITY}
    return {"id": "p1", "name": project, "entity": owner}


def _features(state: State, values: dict[str, Any]) -> Any:
    return {"serverInfo": {"features": []}}


def _viewer(state: State, values: dict[str, Any]) -> Any:
    viewer = {"id": "u1", "entity": ENTITY, "username": ENTITY, "flags": "{}", "email": ""}
    return {"viewer": {**viewer, "teams": {"edges": []}, "admin": False}}


def _resume_status(state: State, values: dict[str, Any]) -> Any:
    run = state.runs.get(values["name"])
    model = _project(values["project"])
    return {"model": {**model, "bucket": None if run is None else _bucket(run)}}


def _bucket(run: Run) -> dict[str, Any]:
    lines = run.lines.get("wandb-history.jsonl", [])
    return {
        "id": f"run-{run.name}",
        "name": run.name,
        "displayName": run.fields.get("displayName"),
        "description": "",
        "summaryMetrics": json.dumps(run.summary),
        "config": run.fields.get("config") or "{}",
        "historyLineCount": len(lines),
        "historyTail": json.dumps(lines[-1:]),
        "logLineCount": len(run.lines.get("output.log", [])),
        "eventsLineCount": len(run.lines.get("wandb-events.jsonl", [])),
        "eventsTail": json.dumps(run.lines.get("wandb-events.jsonl", [])[-1:]),
        "tags": run.fields.get("tags") or [],
        "notes": "",
        "sweepName": None,
        "wandbConfig": '{"t": 1}',
        "project": _project(run.project),
    }


def _upsert_run(state: State, values: dict[str, Any]) -> Any:
    name = values.get("name") or values["id"].removeprefix("run-")
    inserted = name not in state.runs
    run = state.run(values.get("project") or "", name)
    run.fields.update({key: value for key, value in values.items() if value is not None})
    return {"upsertBucket": {"bucket": _bucket(run), "inserted": inserted}}


def _run_files(state: State, values: dict[str, Any]) -> Any:
    files = [
        {"name": file, "uploadUrl": f"{state.url}/put/{values['run']}/{file}"}
        for file in values["files"]
    ]
    return {"createRunFiles": {"runID": values["run"], "uploadHeaders": [], "files": files}}


def _create_artifact(state: State, values: dict[str, Any]) -> Any:
    asked = values["input"]
    name = asked["artifactCollectionName"]
    earlier = [one for one in state.artifacts if one.name == name]
    same = [one for one in earlier if one.digest == asked["digest"]]
    if same:
        made = same[-1]
    else:
        made = Artifact(
            f"artifact-{len(state.artifacts)}",
            asked.get("runName") or "",
            name,
            asked["artifactTypeName"],
            asked["digest"],
            asked.get("metadata") or "{}",
            asked.get("clientID") or "",
            len([one for one in earlier if one.state == "COMMITTED"]),
        )
        made.aliases = [one["alias"] for one in asked.get("aliases") or []]
        state.artifacts.append(made)
    latest = [one for one in earlier if one.state == "COMMITTED"]
    sequence = {"id": name, "latestArtifact": _latest(latest)}
    said = {"id": made.id, "state": made.state, "artifactSequence": sequence}
    return {"createArtifact": {"artifact": {**said, "digest": made.digest}}}


def _latest(found: list[Artifact]) -> dict[str, Any] | None:
    return {"id": found[-1].id, "versionIndex": found[-1].version} if found else None


def _manifest(state: State, values: dict[str, Any]) -> Any:
    id = f"manifest-{values['artifactID']}"
    url = f"{state.url}/put/{id}"
    file = {"id": id, "uploadUrl": url, "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": id, "file": file}}}


def _updated_manifest(state: State, values: dict[str, Any]) -> Any:
    id = values["artifactManifestID"]
    file = {"id": id, "uploadUrl": f"{state.url}/put/{id}", "uploadHeaders": []}
    return {"updateArtifactManifest": {"artifactManifest": {"id": id, "file": file}}}


def _artifact_files(state: State, values: dict[str, Any]) -> Any:
    edges = []
    for one in values["input"]["artifactFiles"]:
        path = f"{one['artifactID']}/{one['name']}"
        node: dict[str, Any] = {
            "storagePath": path,
            "uploadUrl": f"{state.url}/put/{path}",
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"id": one["artifactID"]},
        }
        edges.append({"node": node})
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def _commit(state: State, values: dict[str, Any], reject: set[str]) -> Any:
    found = state.artifact(values["artifactID"])
    if any(found.name.startswith(word) for word in reject):
        return {"data": None, "errors": [{"message": f"{found.name} is refused"}]}
    found.state = "COMMITTED"
    return {"data": {"commitArtifact": {"artifact": {"id": found.id, "digest": found.digest}}}}


def _use(state: State, values: dict[str, Any]) -> Any:
    asked = values.get("input") or values
    state.used.add((asked["runName"], asked["artifactID"]))
    return {"useArtifact": {"artifact": {"id": asked["artifactID"]}}}


def _client_id(state: State, values: dict[str, Any]) -> Any:
    found = [one for one in state.artifacts if one.client == values["clientID"]]
    return {"clientIDMapping": {"serverID": found[-1].id} if found else None}


def _rows(state: State, values: dict[str, Any]) -> Any:
    run = state.runs.get(values["run"])
    if run is None:
        return {"project": {"run": None}}
    low, high = values["minStep"], values["maxStep"]
    rows = [
        line
        for line, step in zip(run.lines.get("wandb-history.jsonl", []), run.steps, strict=True)
        if low <= step < high
    ]
    return {"project": {"run": {"history": rows[: values["pageSize"]]}}}


def _arrived_trials(state: State, values: dict[str, Any]) -> Any:
    names = json.loads(values["filters"])["name"]["$in"]
    found = [state.runs[name] for name in names if name in state.runs][: values["first"]]
    edges = [
        {"node": {"name": run.name, "summaryMetrics": json.dumps(run.summary)}} for run in found
    ]
    return {"project": {"runs": {"edges": edges}}}


def _arrived_artifacts(state: State, values: dict[str, Any]) -> Any:
    run = values["run"]
    if run not in state.runs:
        return {"project": {"run": None}}
    made = [one for one in state.artifacts if one.run == run]
    used = [one for one in state.artifacts if (run, one.id) in state.used]
    found = {"outputArtifacts": _page(made), "inputArtifacts": _page(used)}
    return {"project": {"run": found}}


def _page(found: list[Artifact]) -> dict[str, Any]:
    edges = [
        {
            "node": {
                "state": one.state,
                "metadata": one.metadata,
                "artifactSequence": {"name": one.name},
            }
        }
        for one in found
    ]
    return {"edges": edges, "pageInfo": {"hasNextPage": False, "endCursor": None}}


def _artifact_by_id(state: State, values: dict[str, Any]) -> Any:
    one = state.artifact(values["id"])
    project = {"id": "p1", "internalId": "1", "name": "p", "entity": {"name": ENTITY}}
    sequence = {"__typename": "ArtifactSequence", "name": one.name, "project": project}
    found = {
        "__typename": "Artifact",
        "id": one.id,
        "artifactSequence": sequence,
        "versionIndex": one.version,
        "artifactType": {"name": one.type},
        "description": None,
        "metadata": one.metadata,
        "ttlDurationSeconds": 0,
        "ttlIsInherited": True,
        "tags": [],
        "historyStep": None,
        "state": one.state,
        "size": 0,
        "digest": one.digest,
        "digestAlgorithm": None,
        "commitHash": "",
        "fileCount": 1,
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": None,
        "aliases": [],
    }
    return {"artifact": found}


def _no_algorithm(state: State, values: dict[str, Any]) -> Any:
    return {"project": {"artifactType": None}}


def _no_xxhash(state: State, values: dict[str, Any]) -> Any:
    return {"entity": {"xxhashDigestsEnabled": False}}


def _uploaded(state: State, values: dict[str, Any]) -> Any:
    return {"markRunFilesUploaded": {"success": True}}


def _project_id(state: State, values: dict[str, Any]) -> Any:
    return {"project": {"id": "p1", "internalId": "UHJvamVjdDp2MTox", "name": "p"}}


def _projects(state: State, values: dict[str, Any]) -> Any:
    node = {
        "__typename": "Project",
        "id": "p1",
        "internalId": "1",
        "name": "structure-net",
        "entityName": ENTITY,
        "createdAt": "2026-01-01T00:00:00Z",
        "isBenchmark": False,
        "user": None,
    }
    page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
    return {"models": {"pageInfo": page, "edges": [{"node": node}]}}


def _upsert_view(state: State, values: dict[str, Any]) -> Any:
    state.views.append(values)
    view = {
        "id": "view1",
        "type": "runs",
        "name": values.get("name"),
        "displayName": "",
        "description": "",
        "spec": values.get("spec"),
        "updatedAt": "2026-01-01T00:00:00Z",
        "user": None,
        "project": _project("p"),
    }
    return {"upsertView": {"view": view, "inserted": True}}


_ANSWERS: dict[str, Any] = {
    "ServerFeaturesQuery": _features,
    "Viewer": _viewer,
    "GetViewer": _viewer,
    "GetDefaultEntity": _viewer,
    "RunResumeStatus": _resume_status,
    "UpsertBucket": _upsert_run,
    "CreateRunFiles": _run_files,
    "CreateArtifact": _create_artifact,
    "CreateArtifactManifest": _manifest,
    "UpdateArtifactManifest": _updated_manifest,
    "CreateArtifactFiles": _artifact_files,
    "CommitArtifact": _commit,
    "UseArtifact": _use,
    "ClientIDMapping": _client_id,
    "HistoryPage": _rows,
    "ArtifactByID": _artifact_by_id,
    "ArrivedArtifacts": _arrived_artifacts,
    "ArrivedTrials": _arrived_trials,
    "FetchArtifactDigestAlgorithm": _no_algorithm,
    "XXHashDigestsEnabled": _no_xxhash,
    "MarkRunFilesUploaded": _uploaded,
    "ProjectInternalId": _project_id,
    "GetProjects": _projects,
    "upsertView": _upsert_view,
}
