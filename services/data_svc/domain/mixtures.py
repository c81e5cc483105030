"""Mixtures: what was asked for turned into shares on record, and what a run would read of them."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.data.v1.dataset_pb2 import DatasetKind, DatasetVersion, SplitCounts
from bessemer.api.data.v1.mixture_pb2 import Mixture, MixtureComponent, MixturePhase
from bessemer.api.data.v1.mixture_service_pb2 import MixtureCap, MixtureRow, MixtureShare, PreviewMixtureResponse
from bessemer.artifacts.mixture import EPOCHS_MAX, Cap, Component, Plan, components_of, phases_of, plan, rows_for
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest

__all__ = ["check_names", "preview", "resolve"]

BYTES_PER_TOKEN = 4
CAPS = {Cap.EPOCHS: MixtureCap.MIXTURE_CAP_EPOCHS, Cap.TOKENS: MixtureCap.MIXTURE_CAP_TOKENS}


def check_names(given: Mixture, project: str) -> None:
    """Refuse no components, a version named twice, and versions of another project than `projects/<id>`.

    Raises: InvalidRequest naming the component.
    """
    if not given.components:
        raise InvalidRequest("mixture.components must have at least one element", field="mixture.components")
    seen = set[str]()
    for index, component in enumerate(given.components):
        name, field = component.dataset_version, f"mixture.components[{index}].dataset_version"
        if not name.startswith(f"{project}/"):
            raise InvalidRequest(f"{field} must lie in {project}; got {name}", field=field)
        if name in seen:
            raise InvalidRequest(f"{field} names {name} again; give it one weight", field=field)
        seen.add(name)


def resolve(given: Mixture, versions: Sequence[DatasetVersion]) -> Mixture:
    """Return the mixture with versions pinned, defaults filled in, and shares that add up to 1; `name` stays unset.

    `versions` are those of the components, in order.
    Raises: InvalidRequest, FailedPrecondition VERSION_NOT_SEALED, DATASET_EMPTY or TOKENIZER_MISMATCH.
    """
    _check_alike(versions)
    first = versions[0]
    components = [_pinned(given, index, version) for index, version in enumerate(versions)]
    phases = _phases(given, components)
    for index, component in enumerate(components):
        component.weight = sum(phase.share * phase.weights[index] for phase in phases)
        if not component.weight:
            raise InvalidRequest(
                f"{component.dataset_version} has no weight in any phase; leave it out or give it one",
                field=f"mixture.components[{index}]",
            )
    stated = any(c.HasField("weight") for c in given.components) or given.phases
    return Mixture(
        labels=given.labels,
        display_name=given.display_name,
        components=components,
        temperature=None if stated else _temperature(given),
        phases=phases,
        kind=first.kind,
        tokenizer_sha256=first.tokenizer_sha256,
        sequence_length=first.sequence_length,
    )


def preview(mixture: Mixture, *, tokens: int, rows: int) -> PreviewMixtureResponse:
    """Return what a run of `tokens` would read, and where its first `rows` rows come from.

    0 tokens mean as many as the components hold.
    """
    components, phases = components_of(mixture), phases_of(mixture)
    wanted = tokens or sum(component.tokens for component in components)
    made = plan(components, phases, rows_for(components, phases, wanted))
    names = [component.dataset_version for component in mixture.components]
    whole = _shares(names, components, made, made.totals, tuple(map(sum, zip(*made.wanted, strict=True))))
    parts = [
        share
        for phase, counts, asked in zip(mixture.phases, made.rows, made.wanted, strict=True)
        for share in _shares(names, components, made, counts, asked, phase=phase.display_name)
    ]
    read = sum(share.tokens for share in whole)
    first = []
    for row in range(min(rows, len(made))):
        phase, component, number = made.at(row)
        first.append(
            MixtureRow(
                row=row,
                phase=mixture.phases[phase].display_name,
                dataset_version=names[component],
                component_row=number,
                epoch=number // components[component].rows,
            )
        )
    return PreviewMixtureResponse(
        components=whole,
        parts=parts,
        rows=len(made),
        tokens=read,
        tokens_short=max(0, wanted - read) if made.rows_short else 0,
        tokens_estimated=mixture.kind != DatasetKind.DATASET_KIND_TEXT,
        first_rows=first,
    )


def _check_alike(versions: Sequence[DatasetVersion]) -> None:
    first = versions[0]
    for index, version in enumerate(versions):
        field = f"mixture.components[{index}].dataset_version"
        if not version.manifest.sha256:
            raise FailedPrecondition(
                f"{version.name} is not sealed; wait until its curation job has succeeded",
                reason="VERSION_NOT_SEALED",
                resource=version.name,
            )
        if not _train(version).rows:
            raise FailedPrecondition(
                f"{version.name} has no rows in its split `train`; curate more documents or hold fewer out",
                reason="DATASET_EMPTY",
                resource=version.name,
            )
        if version.kind != first.kind:
            kinds = [DatasetKind.Name(v.kind).removeprefix("DATASET_KIND_") for v in (first, version)]
            raise InvalidRequest(
                f"{first.name} holds {kinds[0]}, {version.name} holds {kinds[1]}; mix versions of one kind", field=field
            )
        if version.tokenizer_sha256 != first.tokenizer_sha256:
            raise FailedPrecondition(
                f"{first.name} was made with tokenizer {first.tokenizer_sha256[:12]}, {version.name} with "
                f"{version.tokenizer_sha256[:12]}; curate one of them again",
                reason="TOKENIZER_MISMATCH",
                resource=version.name,
            )
        if version.sequence_length != first.sequence_length:
            raise InvalidRequest(
                f"{first.name} has rows of {first.sequence_length} tokens, {version.name} of "
                f"{version.sequence_length}; curate one of them again with the other's sequence_length",
                field=field,
            )


def _train(version: DatasetVersion) -> SplitCounts:
    return next((split for split in version.splits if split.split == "train"), SplitCounts())


def _pinned(given: Mixture, index: int, version: DatasetVersion) -> MixtureComponent:
    """Return a component with its version's digest and size, and its caps."""
    asked, counts = given.components[index], _train(version)
    component = MixtureComponent(
        dataset_version=version.name,
        epochs_max=asked.epochs_max if asked.HasField("epochs_max") else EPOCHS_MAX,
        tokens_max=asked.tokens_max if asked.HasField("tokens_max") else None,
        manifest=version.manifest,
        rows=counts.rows,
        tokens=max(counts.rows, counts.tokens or counts.bytes // BYTES_PER_TOKEN),
    )
    limits = components_of(Mixture(components=[component]))[0]
    if not limits.rows_max:
        raise InvalidRequest(
            f"{limits.cap.value} leaves not one row of {version.name}, which has {limits.rows} rows of about "
            f"{round(limits.tokens_per_row)} tokens; raise it or leave the version out",
            field=f"mixture.components[{index}].{limits.cap.value}",
        )
    return component


def _phases(given: Mixture, components: Sequence[MixtureComponent]) -> list[MixturePhase]:
    """Return phases whose shares add up to 1, with weights that do."""
    weighted = [index for index, component in enumerate(given.components) if component.HasField("weight")]
    if weighted and len(weighted) < len(given.components):
        missing = next(i for i in range(len(given.components)) if i not in weighted)
        raise InvalidRequest(
            "give every component a weight or none; without weights shares follow the temperature",
            field=f"mixture.components[{missing}].weight",
        )
    if given.HasField("temperature") and (weighted or given.phases):
        raise InvalidRequest(
            "temperature makes the shares only where no weights are given", field="mixture.temperature"
        )
    if not given.phases:
        weights = [component.weight for component in given.components] if weighted else _tempered(given, components)
        return [MixturePhase(display_name="all", share=1.0, weights=_normal(weights))]
    if weighted:
        raise InvalidRequest("with phases the weights stand in the phases", field="mixture.components[0].weight")
    shares = _normal([phase.share for phase in given.phases])
    made = []
    for index, (phase, share) in enumerate(zip(given.phases, shares, strict=True)):
        field = f"mixture.phases[{index}].weights"
        if len(phase.weights) != len(components):
            raise InvalidRequest(f"{field} must have {len(components)} elements, one per component", field=field)
        if not any(phase.weights):
            raise InvalidRequest(f"{field} must have a weight above 0", field=field)
        name = phase.display_name or f"phase-{index + 1}"
        made.append(MixturePhase(display_name=name, share=share, weights=_normal(phase.weights)))
    return made


def _temperature(given: Mixture) -> float:
    return given.temperature if given.HasField("temperature") else 1.0


def _tempered(given: Mixture, components: Sequence[MixtureComponent]) -> list[float]:
    """Return n^(1/temperature) for components of n tokens, relative to the largest."""
    most = max(component.tokens for component in components)
    return [(component.tokens / most) ** (1.0 / _temperature(given)) for component in components]


def _normal(weights: Sequence[float]) -> list[float]:
    """Return weights that add up to 1; dividing by the largest first keeps huge ones finite."""
    most = max(weights)
    scaled = [weight / most for weight in weights]
    return [weight / sum(scaled) for weight in scaled]


def _shares(
    names: Sequence[str],
    components: Sequence[Component],
    made: Plan,
    counts: Sequence[int],
    wanted: Sequence[int],
    *,
    phase: str = "",
) -> list[MixtureShare]:
    """Return what each component gives; `counts` and `wanted` are rows per component."""
    tokens, asked = (
        [round(rows * component.tokens_per_row) for rows, component in zip(column, components, strict=True)]
        for column in (counts, wanted)
    )
    return [
        MixtureShare(
            phase=phase,
            dataset_version=names[i],
            rows=counts[i],
            tokens=tokens[i],
            share=tokens[i] / max(1, sum(tokens)),
            wanted_share=asked[i] / max(1, sum(asked)),
            epochs=counts[i] / component.rows,
            cap=CAPS[component.cap] if _is_capped(component, made, i) else None,
            tokens_short=max(0, asked[i] - tokens[i]),
        )
        for i, component in enumerate(components)
    ]


def _is_capped(component: Component, made: Plan, index: int) -> bool:
    """Whether the run would read more of a component if its cap were higher."""
    wanted = sum(phase[index] for phase in made.wanted)
    return made.totals[index] == component.rows_max and (wanted > component.rows_max or made.rows_short > 0)
