"""From stored data to records: migrated, then checked."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, get_args

from pydantic import Field, ValidationError

from structure_net.errors import RecordError
from structure_net.logging.migrations import check_version, migrate
from structure_net.logging.records.research import Evidence, Hypothesis, Search, Setting, Trial
from structure_net.logging.records.runs import (
    Artifact,
    Missed,
    Profile,
    Resumed,
    RunEnded,
    RunStarted,
)
from structure_net.logging.records.training import Analysis, Edit, Epoch, Growth, Iteration
from structure_net.logging.records.values import RecordModel

Record = Annotated[
    RunStarted
    | RunEnded
    | Resumed
    | Epoch
    | Analysis
    | Edit
    | Growth
    | Iteration
    | Trial
    | Hypothesis
    | Evidence
    | Search
    | Setting
    | Artifact
    | Profile
    | Missed,
    Field(discriminator="kind"),
]
"""Any record."""

KINDS: Final[Mapping[str, type[RecordModel]]] = {
    model.model_fields["kind"].default: model for model in get_args(get_args(Record)[0])
}
"""The model of each kind of record."""


def newest_version(kind: str) -> int:
    """The version in which records of a kind are written now.

    Raises:
        RecordError: There is no such kind.
    """
    version: int = _model(kind).model_fields["version"].default
    return version


def record_of(kind: str, version: int, data: Mapping[str, Any] | str | bytes) -> RecordModel:
    """A record from what is stored.

    Args:
        kind: Its kind.
        version: The version of its form.
        data: Its other fields, as an object or as JSON text.

    Raises:
        RecordError: The kind is not known, the version is newer than this program, or a field is
            missing, unknown or wrong; the first problem is named.
    """
    found = problems_of(kind, version, data)
    if isinstance(found, RecordModel):
        return found
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    raise RecordError(f"A record of kind {kind!r}: {found[0]}{more}.")


def problems_of(
    kind: str, version: int, data: Mapping[str, Any] | str | bytes
) -> RecordModel | list[str]:
    """The record, or all that is wrong with its fields: one line each, without a full stop.

    Raises:
        RecordError: The kind is not known, or the version is newer than this program.
    """
    model = _model(kind)
    newest = newest_version(kind)
    check_version(kind, version, newest)
    try:
        if version == newest:
            return _validated(model, data)
        text = data if isinstance(data, str | bytes) else json.dumps(data)
        _, moved = migrate(kind, version, json.loads(text))
        return _validated(model, moved)
    except ValidationError as error:
        return [problem_line(one) for one in error.errors(include_url=False)]


def _validated(model: type[RecordModel], data: Mapping[str, Any] | str | bytes) -> RecordModel:
    # Tuples are lists in JSON, which only pydantic's JSON mode takes for them in strict models.
    text = data if isinstance(data, str | bytes) else json.dumps(data)
    return model.model_validate_json(text)


def problem_line(problem: Mapping[str, Any]) -> str:
    """One problem that pydantic found: where, what, and the rule."""
    place = ".".join(str(part) for part in problem["loc"])
    where = f"{place}: " if place else ""
    if problem["type"] == "missing":
        return f"{where}is missing"
    if problem["type"] == "extra_forbidden":
        return f"{where}is no field of this record"
    if problem["type"] == "json_invalid":
        return f"this is no JSON ({problem['ctx']['error']})"
    message = problem["msg"][:1].lower() + problem["msg"][1:]
    return f"{where}{message}; got {problem['input']!r:.60}"


def _model(kind: str) -> type[RecordModel]:
    if kind in KINDS:
        return KINDS[kind]
    near = difflib.get_close_matches(str(kind), KINDS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise RecordError(
        f"There is no kind of record named {kind!r:.60}; known: {', '.join(KINDS)}.{hint}"
    )
