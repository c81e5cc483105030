"""A model taken out with the command, and proved with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fixtures.trained_model import make_trained_model


def bessemer(home, *words):
    return subprocess.run(
        [sys.executable, "-m", "bessemer.cli.main", "--home", str(home), "--project", "taken", *words],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_model_leaves_as_a_bundle_that_proves_itself_until_a_byte_changes(embedded, tmp_path):
    folder = make_trained_model(tmp_path / "tiny")
    done = bessemer(embedded.home, "model", "import", str(folder), "--model", "tiny", "--license", "MIT")
    assert done.returncode == 0, done.stderr
    bundle = tmp_path / "tiny.tar"
    done = bessemer(
        embedded.home, "model", "export", "tiny/v1", "--format", "onnx", "--quantize", "int8", "--to", str(bundle)
    )
    assert done.returncode == 0, done.stderr
    assert "checks hold through onnxruntime" in done.stdout
    key = embedded.home / "credentials" / "artifacts.pub"
    done = bessemer(tmp_path / "elsewhere", "model", "verify", str(bundle), "--key", str(key))
    assert done.returncode == 0, done.stderr
    assert "tiny/v1 as onnx int8" in done.stdout

    changed = bytearray(bundle.read_bytes())
    changed[len(changed) // 2] ^= 1
    bundle.write_bytes(changed)
    done = bessemer(tmp_path / "elsewhere", "model", "verify", str(bundle), "--key", str(key))
    assert done.returncode != 0
    assert "was changed since the model was exported" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_number_format_that_a_format_lacks_is_refused_with_those_it_has(embedded, tmp_path):
    folder = make_trained_model(tmp_path / "tiny", 1)
    assert bessemer(embedded.home, "model", "import", str(folder), "--model", "other").returncode == 0
    done = bessemer(embedded.home, "model", "export", "other/v1", "--format", "openvino", "--quantize", "int4")
    assert done.returncode != 0
    assert "openvino is written in fp32, int8; got 'int4'" in done.stderr
