"""Regenerate the stubs in this package from `protos/`; `make protos` runs it, `make lint` compares."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROTOS = ROOT / "protos"
MARKER = "_pb2"


def generate(target: Path) -> None:
    """Write all stubs below `target/bessemer/api`."""
    package = target / "bessemer" / "api"
    sources = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "bessemer").rglob("*.proto"))
    scripts = Path(sys.executable).parent
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{PROTOS}",
            f"-I{PROTOS / 'third_party'}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            f"--mypy_grpc_out={target}",
            *sources,
        ],
        check=True,
        cwd=PROTOS,
    )
    for folder in [package, *sorted(path for path in package.rglob("*") if path.is_dir())]:
        if folder.name == "__pycache__":
            continue
        init = folder / "__init__.py"
        if not init.exists():
            init.write_text('"""Generated stubs; see `protos/`."""\n')


def _replace(fresh: Path, committed: Path) -> None:
    """Put fresh stubs in the place of all old ones; only done once they are complete."""
    for stale in committed.rglob(f"*{MARKER}*.py*"):
        stale.unlink()
    shutil.copytree(fresh, committed, dirs_exist_ok=True)


def main() -> None:
    """Generate in place, or with `--check` into a scratch folder and compare."""
    scratch = ROOT / "build" / "protos"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    generate(scratch)
    if "--check" not in sys.argv:
        _replace(scratch / "bessemer" / "api", ROOT / "libs" / "bessemer" / "api")
        return
    fresh = {p.relative_to(scratch): p.read_bytes() for p in scratch.rglob(f"*{MARKER}*.py*")}
    libs = ROOT / "libs"
    committed = {
        p.relative_to(libs): p.read_bytes()
        for p in (libs / "bessemer" / "api").rglob(f"*{MARKER}*.py*")
        if "__pycache__" not in p.parts
    }
    stale = sorted(str(name) for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    if stale:
        sys.exit("stale stubs, run `make protos`: " + ", ".join(stale))


if __name__ == "__main__":
    main()
