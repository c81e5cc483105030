from __future__ import annotations

import io
import json
import tarfile
import zipfile

import pytest
from bessemer.api.train.v1.model_pb2 import ExportTask, ImportTask, ModelJob, ModelJobInputs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.adapter_files import ADAPTER_FILES
from bessemer.modeling.generate import generate_greedy
from bessemer.modeling.load import load_model
from bessemer.modeling.tokenizer import Tokenizer
from train_svc.worker import models
from train_svc.worker.archive import pack_folder

from tests.fixtures.adapters import make_adapter
from tests.fixtures.tiny_model import make_tiny_model
from tests.fixtures.training import Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def import_upload(bench, data, name="model.tar", base=None):
    ref = bench.blobs.put_bytes(data, "application/octet-stream")
    inputs = ModelJobInputs(upload=ref, file_name=name, model_manifest=base)
    job = ModelJob(name="projects/p/modelJobs/j", inputs=inputs)
    task = ImportTask(model="projects/p/models/m", upload="projects/p/uploads/u", license="MIT")
    task.base = "projects/p/models/m/versions/v1" if base else ""
    getattr(job, "import").CopyFrom(task)
    context, _ = bench.context(job, kind="modelJobs")
    return models.run(context)


def tar_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def files_of(bench):
    return {path.name: path.read_bytes() for path in bench.base.iterdir()}


def test_import_archive_round_trips_through_export(bench, tmp_path):
    done = import_upload(bench, tar_of({f"tiny/{name}": data for name, data in files_of(bench).items()}))
    assert done.result.architecture == "llama"
    assert done.result.context_length == 512
    manifest = read_manifest(bench.blobs, done.result.manifest)
    assert manifest.facts["license"] == "MIT"
    assert load_model(fetch(bench.blobs, manifest, tmp_path / "out")).config.num_parameters == done.result.parameters

    job = ModelJob(name="projects/p/modelJobs/k", export=ExportTask(format="safetensors", precision="fp32"))
    job.inputs.model_manifest.CopyFrom(done.result.manifest)
    exported = models.run(bench.context(job, kind="modelJobs")[0])
    again = import_upload(bench, bench.blobs.get_bytes(exported.result.archive))
    assert again.result.manifest == done.result.manifest


def test_import_adapters_are_merged_into_their_base_and_kept_beside_it(bench, tmp_path):
    base = import_upload(bench, tar_of(files_of(bench))).result.manifest
    says = make_adapter(bench.base, tmp_path / "peft", 1)
    files = {path.name: path.read_bytes() for path in (tmp_path / "peft").iterdir()}
    done = import_upload(bench, tar_of(files), base=base)
    (report,) = done.result.parity
    assert (report.hop, report.passed, done.result.adapter_rank) == ("merge", True, 3)
    manifest = read_manifest(bench.blobs, done.result.manifest)
    assert [entry.path for entry in manifest.below("adapter/")] == [f"adapter/{name}" for name in ADAPTER_FILES]
    folder = fetch(bench.blobs, manifest, tmp_path / "out")
    ids = Tokenizer.from_folder(folder).render_chat([{"role": "user", "content": "The furnace"}])
    assert tuple(generate_greedy(load_model(folder), [ids], max_new_tokens=12, stop=frozenset())[0]) == says(ids, 12)

    job = ModelJob(name="projects/p/modelJobs/k", export=ExportTask(format="safetensors", precision="fp32"))
    job.inputs.model_manifest.CopyFrom(done.result.manifest)
    exported = models.run(bench.context(job, kind="modelJobs")[0])
    assert import_upload(bench, bench.blobs.get_bytes(exported.result.archive)).result.parameters > 0


def test_import_adapters_without_base_of_another_base_or_with_other_tokens_are_refused(bench, tmp_path):
    base = import_upload(bench, tar_of(files_of(bench))).result.manifest
    make_adapter(bench.base, tmp_path / "peft", 1)
    files = {path.name: path.read_bytes() for path in (tmp_path / "peft").iterdir()}
    with pytest.raises(InvalidRequest) as caught:
        import_upload(bench, tar_of(files))
    assert caught.value.fields["field"] == "import.base"
    with pytest.raises(InvalidRequest, match="base"):
        import_upload(bench, tar_of(files_of(bench)), base=base)
    tokenizer = json.loads(files_of(bench)["tokenizer.json"])
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][0], "id": 511, "content": "<|new|>"})
    with pytest.raises(FailedPrecondition) as refused:
        import_upload(bench, tar_of(files | {"tokenizer.json": json.dumps(tokenizer).encode()}), base=base)
    assert refused.value.reason == "TOKENIZER_MISMATCH"
    make_adapter(make_tiny_model(tmp_path / "wide", hidden_size=32), tmp_path / "wide-peft", 1)
    files = {path.name: path.read_bytes() for path in (tmp_path / "wide-peft").iterdir()}
    with pytest.raises(InvalidRequest, match="does not fit"):
        import_upload(bench, tar_of(files), base=base)


def test_import_zip_is_read(bench):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in files_of(bench).items():
            bundle.writestr(name, data)
        bundle.writestr("README.md", "hello")
    assert import_upload(bench, buffer.getvalue()).result.architecture == "llama"


def test_export_archive_is_the_same_every_time(bench, tmp_path):
    first = pack_folder(bench.base, tmp_path / "a.tar").read_bytes()
    assert first == pack_folder(bench.base, tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pytorch_model.bin", b"x"),
        ("model.pt", b"x"),
        ("modeling_x.py", b"x"),
        ("../config.json", b"x"),
        ("/etc/config.json", b"x"),
        ("other/config.json", b"{}"),
        ("model.safetensors", b"\x08" + b"\0" * 30),
        ("tokenizer.json", b"{}"),
        ("tokenizer_config.json", json.dumps({"auto_map": {"AutoTokenizer": "x.Y"}}).encode()),
        ("tokenizer_config.json", json.dumps({"chat_template": "{% for %}"}).encode()),
        ("tokenizer_config.json", b"[]"),
        ("config.json", b"{"),
    ],
)
def test_import_hostile_or_damaged_file_is_refused(bench, name, data):
    with pytest.raises(InvalidRequest):
        import_upload(bench, tar_of({**files_of(bench), name: data}))


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"},
        {"auto_map": {"AutoModel": "x.Y"}},
        {"hidden_size": 128},
        {"num_hidden_layers": 1},
        {"num_hidden_layers": 3},
        {"hidden_size": "64"},
        {"vocab_size": 100},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"rope_scaling": {"type": "yarn", "factor": 2}},
    ],
)
def test_import_config_that_does_not_fit_is_refused(bench, change):
    files = files_of(bench)
    files["config.json"] = json.dumps({**json.loads(files["config.json"]), **change}).encode()
    with pytest.raises(InvalidRequest):
        import_upload(bench, tar_of(files))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_import_without_a_file_is_refused(bench, missing):
    files = {name: data for name, data in files_of(bench).items() if name != missing}
    with pytest.raises(InvalidRequest, match=missing.split(".")[-1]):
        import_upload(bench, tar_of(files))


def test_import_links_and_noise_are_refused(bench):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("config.json")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    for data in (buffer.getvalue(), b"noise" * 300, b"", b"GGUF" + b"\xff" * 200):
        with pytest.raises(InvalidRequest):
            import_upload(bench, data)


def test_import_bomb_is_refused(bench):
    with pytest.raises(InvalidRequest, match="times its size"):
        import_upload(bench, tar_of({"notes.txt": bytes(40 << 20)}))


def test_import_unknown_catalogue_name_is_refused():
    with pytest.raises(InvalidRequest, match="smollm2-135m-instruct"):
        models.catalogue_file("gpt-5")
