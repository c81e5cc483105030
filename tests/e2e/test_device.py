"""The example for devices, in an environment that has nothing of ours."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from bessemer.artifacts.bundle import SUMS, checksums, digests_of
from train_svc.worker.exports.job import make

from tests.fixtures.trained_model import FACTS, make_trained_model

RUNNER = Path(__file__).resolve().parents[2] / "deploy" / "device" / "run_onnx.py"
PACKAGES = ("onnxruntime", "tokenizers", "numpy", "numpy.libs", "jinja2", "markupsafe")
# What they import themselves, found beside them in a plain installation.
ALSO = ("flatbuffers", "google", "packaging", "protobuf", "sympy", "mpmath", "coloredlogs", "humanfriendly")


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """An interpreter whose only packages are the four that the example names and what those need."""
    site = tmp_path_factory.mktemp("device") / "site"
    site.mkdir()
    installed = Path(sysconfig.get_paths()["purelib"])
    for candidates in [*[Path(entry) for entry in sys.path if entry.endswith("site-packages")], installed]:
        for name in (*PACKAGES, *ALSO):
            if (candidates / name).exists() and not (site / name).exists():
                (site / name).symlink_to(candidates / name)

    def run(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", LAUNCH, str(site), str(RUNNER), str(folder), *arguments],
            input=typed, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


LAUNCH = """
import runpy, sys
site, sys.argv = sys.argv[1], sys.argv[2:]
sys.path.append(site)
try:
    import bessemer
except ImportError:
    runpy.run_path(sys.argv[0], run_name="__main__")
    heavy = {name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "grpc", "bessemer"}
    sys.exit(f"it imports {heavy}" if heavy else 0)
sys.exit("bessemer can be imported here")
"""


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_device_answers_as_the_trained_model_does_with_none_of_our_packages(tmp_path, device, precision):
    folder = export(tmp_path, precision)
    for question, answer in FACTS.items():
        done = device(folder, "--prompt", question)
        assert (done.returncode, done.stdout) == (0, answer + "\n"), done.stderr


def test_device_streams_a_conversation_and_reads_only_what_is_new(tmp_path, device):
    folder = export(tmp_path, "fp32")
    first, second = list(FACTS)[:2]
    done = device(folder, typed=f"{first}\n\n{second}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == FACTS[first]
    assert len(done.stdout.splitlines()) == 2


def test_device_refuses_a_file_that_was_changed(tmp_path, device):
    folder = export(tmp_path, "fp32")
    with (folder / "model.onnx.data").open("r+b") as file:
        file.write(b"\x01")
    done = device(folder, "--prompt", "Hello")
    assert done.returncode != 0
    assert "model.onnx.data is not the file that was exported" in done.stderr


def export(tmp_path: Path, precision: str) -> Path:
    target = tmp_path / "export"
    make(make_trained_model(tmp_path / "model", steps=120), target, "onnx", precision, facts={})
    (target / SUMS).write_text(checksums(digests_of(target)))
    return target
