"""`bessemer dataset`: bring documents in, look at what became of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bessemer.api.data.v1 import dataset_pb2
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.cli.output import bytes_text, console, job_state, print_message, print_rows, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.kernel.errors import AlreadyExists, NotFound
from bessemer.sdk import Client
from bessemer.sdk.archive import list_files, pack_files
from bessemer.sdk.dataset_files import compare_documents, export_version, read_documents
from bessemer.sdk.recipe import parse_recipe
from bessemer.sdk.sources import S3Credentials, fetch_source

__all__ = ["Kind", "app", "ensure_dataset", "ensure_project", "model_at_hand", "upload_folder"]

Columns = dict[str, Callable[[Any], Any]]
app = typer.Typer(help="Bring documents in and look at what became of them.", no_args_is_help=True)


class Form(StrEnum):
    """What to export as."""

    JSONL = "jsonl"
    PARQUET = "parquet"


class Kind(StrEnum):
    """What the rows of a dataset shall be."""

    TEXT = "text"
    CHAT = "chat"
    PREFERENCE = "preference"

    def proto(self) -> dataset_pb2.DatasetKind:
        """Return the value of the contract."""
        return {
            Kind.TEXT: dataset_pb2.DATASET_KIND_TEXT,
            Kind.CHAT: dataset_pb2.DATASET_KIND_CHAT,
            Kind.PREFERENCE: dataset_pb2.DATASET_KIND_PREFERENCE,
        }[self]


@app.command("import")
def import_(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(help="Folder, file or archive; git+URL[@REF]; database URL; s3+http(s)://HOST/BUCKET/PREFIX."),
    ] = None,
    *,
    query: Annotated[str | None, typer.Option(help="SELECT whose rows are the documents of a database.")] = None,
    dataset: Annotated[
        str, typer.Option(help="Id of the dataset that gets the version; made when missing.")
    ] = "documents",
    kind: Annotated[Kind, typer.Option(help="What the rows shall be.")] = Kind.TEXT,
    model: Annotated[str, typer.Option(help="Model version whose tokenizer to use, for text.")] = "smollm2/v1",
    tokenizer: Annotated[Path | None, typer.Option(help="tokenizer.json to use instead.")] = None,
    from_version: Annotated[
        str | None, typer.Option("--from", help="Text version to derive rows from, such as documents/v1.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Curation recipe, TOML.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Recipe key=value; may be repeated.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help='Judged documents, JSON Lines {"source": ..., "accept": true | false}.')
    ] = None,
    sample: Annotated[float | None, typer.Option(help="Share of the files to look at, such as 0.05.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would become of the documents.")] = False,
    report: Annotated[Path | None, typer.Option(help="Where to save the HTML report.")] = None,
    license_: Annotated[str, typer.Option("--license", help="Licence of the source, such as CC-BY-4.0.")] = "",
    consent: Annotated[str, typer.Option(help="What its owner allows, such as internal-training.")] = "",
    retain_until: Annotated[str, typer.Option(help="Last day on which it may be used, YYYY-MM-DD.")] = "",
    access_key: Annotated[str, typer.Option(envvar="AWS_ACCESS_KEY_ID", help="For an S3 source.")] = "",
    secret_key: Annotated[str, typer.Option(envvar="AWS_SECRET_ACCESS_KEY", help="For an S3 source.")] = "",
) -> None:
    """Curate documents into a sealed dataset version.

    Example: bessemer dataset import ./handbook --dataset handbook
    First look: bessemer dataset import ./handbook --dry-run --sample 0.05 --report first-look.html
    """
    shared = settings_of(context)
    if (source is None) == (from_version is None):
        raise typer.BadParameter("give either a SOURCE, or --from with a text version")
    with shared.client() as client, tempfile.TemporaryDirectory() as scratch:
        ensure_project(client, shared)
        ensure_dataset(client, shared, dataset, kind)
        job = dataset_pb2.CurationJob(
            dataset=shared.name("datasets", dataset),
            recipe=parse_recipe(dataset_pb2.CurationRecipe, recipe, settings or []),
        )
        job.recipe.kind = kind.proto()
        if tokenizer is not None:
            job.tokenizer.CopyFrom(client.upload(shared.project, tokenizer).artifact)
        elif kind is Kind.TEXT:
            job.tokenizer.CopyFrom(model_at_hand(client, shared, model, otherwise="--tokenizer FILE").tokenizer)
        if sample is not None:
            job.recipe.sample_fraction = sample
        if labels is not None:
            job.quality_labels = client.upload(shared.project, labels).name
        if dry_run:
            job.dry_run.SetInParent()
        if source is not None:
            credentials = S3Credentials(access_key, secret_key)
            found = fetch_source(source, Path(scratch), query=query, credentials=credentials)
            terms = {"license": license_, "consent": consent, "retain_until": retain_until}
            job.uploads.append(upload_folder(client, shared, found, terms).name)
        else:
            job.source_version = shared.version_name("datasets", from_version or "")
        created = client.data.create_curation_job(parent=shared.project, curation_job=job)
        done = follow(client, shared, created, f"curating {dataset}")
        page = _print_curated(client, shared, done)
        if report is not None:
            client.download(page, report)


@app.command("list")
def list_(
    context: typer.Context,
    dataset: Annotated[str | None, typer.Argument(help="Dataset whose versions to list.")] = None,
) -> None:
    """List datasets, or the versions of one.

    Example: bessemer dataset list handbook
    """
    settings = settings_of(context)
    with settings.client() as client:
        if dataset is None:
            sets = list(client.pages(client.data.list_datasets, parent=settings.project))
            columns: Columns = {"dataset": lambda d: short(d.name), "kind": lambda d: _kind_text(d.kind)}
            print_rows(settings, sets, columns)
            return
        parent = settings.name("datasets", dataset)
        versions = list(client.pages(client.data.list_dataset_versions, parent=parent))
        columns = {
            "version": lambda v: short(v.name),
            "kind": lambda v: _kind_text(v.kind),
            "documents": lambda v: _train_counts(v).documents,
            "rows": lambda v: _train_counts(v).rows,
            "tokens": lambda v: _train_counts(v).tokens,
            "digest": lambda v: v.manifest.sha256[:12],
        }
        print_rows(settings, versions, columns)


@app.command()
def show(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="Version, such as handbook/v1.")],
    rows: Annotated[int, typer.Option(help="Rows to preview.", min=0, max=100)] = 3,
) -> None:
    """Show a version: counts, reasons, and a few rows.

    Example: bessemer dataset show handbook/v1 --rows 5
    """
    settings = settings_of(context)
    with settings.client() as client:
        name = settings.version_name("datasets", version)
        _print_version(settings, client.data.get_dataset_version(name=name))
        if rows and settings.output is Output.TABLE:
            for row in client.data.preview_dataset_version(name=name, rows=rows).rows:
                console.rule(row.source, style="dim")
                console.print(row.text[:600], markup=False)


@app.command()
def profile(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="Version, such as handbook/v1.")],
    report: Annotated[Path | None, typer.Option(help="Also save the HTML report here.")] = None,
) -> None:
    """Show the distributions of a version.

    Example: bessemer dataset profile handbook/v1 --report data.html
    """
    settings = settings_of(context)
    with settings.client() as client:
        name = settings.version_name("datasets", version)
        found = client.data.profile_dataset_version(name=name)
        print_message(settings, found, {"version": short(found.name)})
        if settings.output is Output.TABLE:
            for histogram in found.histograms:
                console.print(_histogram(histogram))
            for key in sorted(found.categories, key=lambda key: (key.split("/")[0], -found.categories[key])):
                console.print(f"  {key:40} {found.categories[key]}", markup=False)
        if report is not None:
            client.download(client.data.get_dataset_version(name=name).report, report)
            console.print(f"report: {report}")


@app.command()
def diff(
    context: typer.Context,
    before: Annotated[str, typer.Argument(help="Version, such as handbook/v1.")],
    after: Annotated[str, typer.Argument(help="Version to compare with it, such as handbook/v2.")],
    most: Annotated[int, typer.Option(help="Documents to name of each sort.", min=0)] = 20,
) -> None:
    """Show which documents came, went or changed between two versions.

    Example: bessemer dataset diff handbook/v1 handbook/v2
    """
    settings = settings_of(context)
    with settings.client() as client:
        names = [settings.version_name("datasets", version) for version in (before, after)]
        old, new = (read_documents(client, client.data.get_dataset_version(name=name)) for name in names)
    found = asdict(compare_documents(old, new))
    if settings.output is Output.JSON:
        console.print_json(data=found)
        return
    console.print(f"{before} has {len(old)} documents, {after} has {len(new)}; {found.pop('num_unchanged')} unchanged")
    for sort, paths in found.items():
        console.print(f"[bold]{sort.replace('_', ' ')}: {len(paths)}[/bold]")
        for path in paths[:most]:
            console.print(f"  {path}", markup=False)


@app.command()
def export(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="Version, such as handbook/v1.")],
    to: Annotated[Path, typer.Option(help="Folder to write, or archive for parquet; it must not exist yet.")],
    form: Annotated[Form, typer.Option("--format", help="Format.")] = Form.JSONL,
) -> None:
    """Take a version away: a folder of JSON Lines as Hugging Face lays it out, or a tar archive of Parquet files.

    Example: bessemer dataset export handbook/v1 --to handbook-v1
    """
    settings = settings_of(context)
    with settings.client() as client:
        name = settings.version_name("datasets", version)
        if form is Form.PARQUET:
            task = {"dataset_version": name, "format": form.value}
            job = client.data.create_dataset_job(parent=settings.project, dataset_job={"export": task})
            done = follow(client, settings, job, f"exporting {version}")
            client.download(done.result.archive, to)
            print_message(settings, done, {"archive": str(to), "size": bytes_text(done.result.archive.size_bytes)})
            return
        rows = export_version(client, client.data.get_dataset_version(name=name), to)
    if settings.output is Output.JSON:
        console.print_json(data={"folder": str(to), "rows": rows})
    else:
        console.print(f"{to}: " + ", ".join(f"{count} rows of {split}" for split, count in rows.items()))


@app.command("jobs")
def jobs(context: typer.Context) -> None:
    """List curation jobs.

    Example: bessemer dataset jobs
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = list(client.pages(client.data.list_curation_jobs, parent=settings.project))
        columns: Columns = {
            "job": lambda job: short(job.name),
            "state": job_state,
            "version": lambda job: short(job.dataset_version),
        }
        print_rows(settings, found, columns)


def ensure_project(client: Client, settings: Settings) -> None:
    """Create the project if it does not exist."""
    try:
        client.data.get_project(name=settings.project)
    except NotFound:
        try:
            client.data.create_project(project_id=settings.project_id, project={"display_name": settings.project_id})
        except AlreadyExists:
            return


def model_at_hand(client: Client, settings: Settings, model: str, *, otherwise: str) -> ModelVersion:
    """Return a model version; where there is none yet, say how to get one or what to give instead."""
    try:
        version: ModelVersion = client.train.get_model_version(name=settings.version_name("models", model))
    except NotFound as error:
        text = (
            f"{error.message}; import it with `bessemer model import`, choose another with --model, or give {otherwise}"
        )
        raise NotFound(text, reason=error.reason, **error.fields) from None
    return version


def ensure_dataset(client: Client, settings: Settings, dataset: str, kind: Kind) -> None:
    """Create the dataset if it does not exist."""
    try:
        client.data.get_dataset(name=settings.name("datasets", dataset))
    except NotFound:
        client.data.create_dataset(parent=settings.project, dataset_id=dataset, dataset={"kind": kind.proto()})


def upload_folder(client: Client, settings: Settings, source: Path, terms: Mapping[str, str] | None = None) -> Any:
    """Upload a file as it is, or a folder as one archive, under its owner's terms; return the `Upload`."""
    if source.is_file():
        return client.upload(settings.project, source, terms=terms)
    with tempfile.TemporaryDirectory() as scratch:
        files = [(str(path.relative_to(source)), path) for path in list_files(source)]
        archive = pack_files(files, Path(scratch) / "documents.tar")
        return client.upload(settings.project, archive, media_type="application/x-tar", terms=terms)


def _print_curated(client: Client, settings: Settings, done: Any) -> Any:
    """Print what a curation job made, or would make; return its report."""
    if done.HasField("dry_run"):
        print_message(settings, done, {"dry run": short(done.name), "version": "none"})
        _print_counts(settings, done.dry_run.splits, done.reasons)
        page = done.dry_run.report
    else:
        version = client.data.get_dataset_version(name=done.dataset_version)
        _print_version(settings, version)
        page = version.report
    if done.partitions and settings.output is Output.TABLE:
        console.print(f"{done.partitions_reused} of {done.partitions} partitions reused")
    return page


def _print_version(settings: Settings, version: Any) -> None:
    print_message(
        settings,
        version,
        {"version": short(version.name), "kind": _kind_text(version.kind), "digest": version.manifest.sha256},
    )
    _print_counts(settings, version.splits, version.reasons)


def _print_counts(settings: Settings, splits: Any, reasons: Any) -> None:
    if settings.output is Output.JSON:
        return
    table = Table("split", "documents", "rows", "tokens", "text", box=None, header_style="bold")
    for split in splits:
        table.add_row(split.split, str(split.documents), str(split.rows), str(split.tokens), bytes_text(split.bytes))
    console.print(table)
    fates = Table("what became of the documents", "documents", "bytes", box=None, header_style="bold")
    for reason in reasons:
        fates.add_row(reason.reason, str(reason.documents), bytes_text(reason.bytes))
    console.print(fates)


def _histogram(histogram: Any) -> Table:
    table = Table(
        "from", "to", "documents", "", box=None, title=histogram.measure, title_justify="left", header_style="bold"
    )
    most = max(histogram.counts, default=1) or 1
    for low, high, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False):
        table.add_row(f"{low:.4g}", f"{high:.4g}", str(count), "█" * round(30 * count / most))
    return table


def _kind_text(kind: int) -> str:
    return dataset_pb2.DatasetKind.Name(kind).removeprefix("DATASET_KIND_").lower()


def _train_counts(version: Any) -> dataset_pb2.SplitCounts:
    return next((split for split in version.splits if split.split == "train"), dataset_pb2.SplitCounts())
