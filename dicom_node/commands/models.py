"""Models on this machine: weights of others, the perfusion model, whether they are whole, and keys to sign with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands import model_choice, model_shadow
from dicom_node.commands.site import AsJson, Site, console, read_site

if TYPE_CHECKING:
    from dicom_node.settings.config import NodeSettings
    from inference.weights.model_store import StoredModel

app = typer.Typer(help="Weights for the lobe engines, with or without internet, and the perfusion models.")
for command in (model_choice.promote, model_choice.rollback, model_choice.history, model_choice.export):
    app.command()(command)
app.command()(model_shadow.shadow)

Name = Annotated[str, typer.Argument(help="Name of the weights, as `perfnode models list` shows it.")]
Imported = Annotated[str, typer.Argument(help="Name of weights; or a perfusion model: its folder or exported file.")]
File = Annotated[
    Path | None,
    typer.Argument(help="The published file of weights; for TotalSegmentator its zip or unpacked folder."),
]
Mirror = Annotated[
    str, typer.Option("--url", help="Fetch from this address instead, for instance a mirror of the hospital.")
]
Silence = Annotated[float, typer.Option("--silence", min=1, help="Give up when the server sends nothing so long (s).")]


@app.command("list")
def list_models(config: Site = None, as_json: AsJson = False) -> None:
    """List the weights that are known by name, which are here, and which this site uses."""
    from dicom_node import model_list, output

    settings = read_site(config, default=True)
    if as_json:
        serving = model_choice.serving_fields(settings)
        output.print_json(console, {**model_list.list_fields(settings), "serving": serving})
    else:
        model_list.print_list(console, settings)


@app.command("import")
def import_model(name: Imported, file: File = None, config: Site = None) -> None:
    """Check weights, or a signed perfusion model, and keep them. Needs no internet and runs nothing in the file.

    A perfusion model is not used before it is promoted.
    """
    settings = read_site(config, default=True)
    _make_private(settings.data_dir)
    if file is not None:
        _tell(settings, "import", settings.model_store().import_file(name, file))
        return
    from inference.models.shipped import trusted_keys

    model = settings.model_registry().take(Path(name), trusted_keys(settings.engine.trusted_keys))
    settings.audit_trail().operator_action("import-model", f"model:{model.reference}:{model.content_sha256[:12]}")
    console.print(f"{model.reference} SHA-256 {model.content_sha256}; not in force", markup=False, soft_wrap=True)


@app.command("fetch")
def fetch_model(name: Name, config: Site = None, url: Mirror = "", silence_s: Silence = 60.0) -> None:
    """Fetch weights from where they were published, check them, and put them into the model store.

    Only this command ever fetches weights; the running node does not. A proxy and the certificate of an authority of
    your own are taken from the environment: https_proxy, REQUESTS_CA_BUNDLE.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from dicom_node.errors import DownloadFailed
    from dicom_node.model_download import fetch, shown
    from inference.weights.published_weights import published

    settings, weights = read_site(config, default=True), published(name)
    if not weights.sha256_start:
        why = "its publisher names no digest to check a download with"
        raise DownloadFailed(shown(url or weights.url), why, weights.by_hand())
    _make_private(settings.data_dir)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        stored = fetch(
            settings.model_store(),
            weights,
            url or weights.url,
            silence_s=silence_s,
            progress=lambda here, expected: bar.update(task, completed=here, total=expected),
        )
    _tell(settings, "fetch", stored)


@app.command("show")
def show_model(
    model: Annotated[
        str, typer.Argument(help="A folder, or the name of an imported model; without it, the one of this site.")
    ] = "",
    config: Site = None,
    as_json: AsJson = False,
) -> None:
    """Check a model bundle and show its page: what it is, what it was trained on, its figures and limits."""
    from dicom_node import output
    from dicom_node.model_list import bundle_fields
    from inference.models.manifest import PAGE_FILE
    from inference.models.promotion import read_serving_bundle

    settings = read_site(config, default=True)
    engine, registry = settings.engine, settings.model_registry()
    folder = Path(model) if model else engine.model_folder
    if model and not Path(model).exists():
        folder = registry.path(registry.find(model))
    bundle = read_serving_bundle(folder, engine.trusted_keys, registry.folder)
    fields = bundle_fields(bundle)
    if as_json:
        output.print_json(console, fields)
        return
    for key, value in fields.items():
        console.print(f"{key}: {value}", markup=False, soft_wrap=True)
    console.print(f"\n{bundle.text(PAGE_FILE) or ''}", markup=False, soft_wrap=True)


@app.command("keygen")
def make_key(
    file: Annotated[Path, typer.Argument(help="New file for the private key; the public one gets .pub added.")],
) -> None:
    """Make a key pair of your own to sign models with. The private key is yours alone; nothing replaces a lost one."""
    from inference.models.signature import PUBLIC_SUFFIX, key_id, make_key_pair

    number = key_id(make_key_pair(file))
    public = f"{file}{PUBLIC_SUFFIX}"
    console.print(f"key {number} in {file} (private) and {public} (public)", markup=False, soft_wrap=True)
    console.print(
        f'to trust it, in [inference] of a site file: trusted_keys = ["{public}"]', markup=False, soft_wrap=True
    )


@app.command("remove")
def remove_model(name: Name, config: Site = None) -> None:
    """Remove weights from the model store. Exit status 1 if they were not there."""
    settings = read_site(config, default=True)
    if not settings.model_store().remove(name):
        console.print(f"{name} is not in the model store")
        raise typer.Exit(1)
    settings.audit_trail().operator_action("remove-model", f"model:{name}")
    console.print(f"removed {name}")


@app.command("verify")
def verify_models(config: Site = None) -> None:
    """Read all stored weights and perfusion models again. Exit status 1 if one has changed or is not signed."""
    from dicom_node.model_list import bundle_fields
    from inference.models.promotion import changes, read_serving_bundle
    from inference.models.shipped import trusted_keys

    settings = read_site(config, default=True)
    engine, registry = settings.engine, settings.model_registry()
    if engine.perfusion == "bundle":
        fields = bundle_fields(read_serving_bundle(engine.model_folder, engine.trusted_keys, registry.folder))
        console.print(f"{fields['name']} is intact, signed by {fields['signed_by']}", markup=False, soft_wrap=True)
    changes(registry)
    stored = settings.model_store().verify()
    problems = {**stored, **registry.verify(trusted_keys(engine.trusted_keys))}
    for name, problem in problems.items():
        console.print(f"{name} {problem or 'is intact'}", markup=False, soft_wrap=True)
    if not stored:
        console.print("the model store is empty")
    if any(problems.values()):
        raise typer.Exit(1)


def _make_private(data_dir: Path) -> None:
    """The data directory, if weights come before the first start: patients' images will lie in it."""
    from inference.errors import ModelStoreUnwritable

    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise ModelStoreUnwritable(str(data_dir), fault.strerror or type(fault).__name__) from fault


def _tell(settings: "NodeSettings", action: str, stored: "StoredModel") -> None:
    settings.audit_trail().operator_action(f"{action}-model", f"model:{stored.name}:{stored.sha256[:12]}")
    console.print(f"{stored.name} SHA-256 {stored.sha256} in {stored.path.parent}", soft_wrap=True, markup=False)
