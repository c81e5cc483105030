"""The README's quick start runs as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bessemer.sdk.archive import list_files, pack_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_quickstart_of_the_readme_runs(embedded, documents, tiny_model_archive, tmp_path):
    readme = (ROOT / "README.md").read_text()
    code = re.search(r"<!-- quickstart -->\n```python\n(.*?)```", readme, re.DOTALL).group(1)
    files = [(str(path.relative_to(documents)), path) for path in list_files(documents)]
    pack_files(files, tmp_path / "documents.tar")
    shutil.copyfile(tiny_model_archive, tmp_path / "model.tar")
    (tmp_path / ".bessemer").symlink_to(embedded.home)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"projects/quickstart/datasets/notes/versions/v1 [0-9a-f]{64}\n", done.stdout)
