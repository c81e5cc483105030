"""Rows of sealed versions out of every object store: the same ones, whatever the ranks, prefetching and restarts."""

from __future__ import annotations

import numpy as np
import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import FileEntry, Manifest
from bessemer.artifacts.order import share
from bessemer.artifacts.shard import BOUND, split_shards, write_shard
from bessemer.artifacts.shard_files import ShardFiles
from bessemer.artifacts.stream import TextStream
from bessemer.kernel.errors import DataLoss
from bessemer.svckit.objects import ObjectsConfig, open_objects
from hypothesis import given, settings
from hypothesis import strategies as st

WIDTH, ROWS, SHARDS = 16, 24, 7
STEP = 8  # rows of a step
WINDOW_BYTES = 3 * ROWS * WIDTH * 2


def seal(objects, folder):
    """Store a version whose tokens say where they stand; every row holds two documents and some padding."""
    files = []
    for number in range(SHARDS):
        rows = np.arange(ROWS * WIDTH, dtype="<u2").reshape(ROWS, WIDTH) + number * ROWS * WIDTH
        rows_before = number * ROWS
        bounds = [(r, offset, 7, 2 * (rows_before + r) + offset // 7, 0) for r in range(ROWS) for offset in (0, 7)]
        paths = write_shard(folder, "train", number, [rows], np.array(bounds, BOUND))
        refs = [Blobs(objects, "p").put_file(path, "application/octet-stream") for path in paths]
        files += [FileEntry.of(p.relative_to(folder).as_posix(), r) for p, r in zip(paths, refs, strict=True)]
    facts = {"kind": "TEXT", "sequence_length": WIDTH, "token_bytes": 2}
    return Manifest("dataset", tuple(sorted(files, key=lambda entry: entry.path)), facts)


@pytest.fixture
def version(objects, tmp_path):
    return seal(objects, tmp_path / "version")


def stream_of(objects, version, folder, **options):
    files = ShardFiles(objects, folder, **{k: options.pop(k) for k in ("cache_bytes",) if k in options})
    return TextStream(split_shards(version, "train"), files, digest="d", seed=3, window_bytes=WINDOW_BYTES, **options)


def tokens(samples):
    return np.stack([sample.tokens for sample in samples]) if samples else np.empty((0, WIDTH), np.uint16)


def test_stream_has_every_row_once_per_pass_with_its_pieces(objects, version, tmp_path):
    stream = stream_of(objects, version, tmp_path / "cache")
    assert len(stream) == SHARDS * ROWS
    samples = stream.take(0, 2 * len(stream))
    for start in (0, len(stream)):
        first = sorted(int(sample.tokens[0]) for sample in samples[start : start + len(stream)])
        assert first == [row * WIDTH for row in range(SHARDS * ROWS)]
    for sample in samples:
        assert sample.pieces.tolist() == [[0, 7], [7, 7]]


def test_stream_of_any_ranks_prefetching_and_resumes_is_bit_equal(objects, version, tmp_path):
    steps = 2 * SHARDS * ROWS // STEP
    truth = tokens(stream_of(objects, version, tmp_path / "truth").take(0, steps * STEP))

    @settings(max_examples=25, deadline=None)
    @given(
        world=st.sampled_from([1, 2, 3, 8]),
        ahead=st.integers(0, 4),
        resumes=st.lists(st.integers(0, steps), max_size=3).map(sorted),
    )
    def check(world, ahead, resumes):
        parts = []
        for begin, end in zip([0, *resumes], [*resumes, steps], strict=True):  # a new process at each of them
            streams = [stream_of(objects, version, tmp_path / "cache", ahead=ahead) for _ in range(world)]
            for step in range(begin, end):
                for rank, stream in enumerate(streams):
                    places = share(step * STEP, STEP, rank=rank, world=world)
                    parts.append(tokens(stream.take(places.start, len(places))))
        np.testing.assert_array_equal(np.concatenate(parts), truth)

    check()


def test_stream_in_a_cache_smaller_than_a_window_is_the_same(objects, version, tmp_path):
    truth = tokens(stream_of(objects, version, tmp_path / "cache").take(0, 2 * SHARDS * ROWS))
    limit = ROWS * WIDTH * 2 * 2
    tight = stream_of(objects, version, tmp_path / "tight", cache_bytes=limit, ahead=2)
    np.testing.assert_array_equal(tokens(tight.take(0, 2 * SHARDS * ROWS)), truth)
    tight._files._writer.shutdown()
    left = sum(path.stat().st_size for path in (tmp_path / "tight").iterdir()) if (tmp_path / "tight").exists() else 0
    assert left <= limit


def replace(objects, key, data):
    objects.delete(key)
    objects.put_bytes(key, data)


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("path", ["train/00004.bin", "train/00002.bounds"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "longer", "stale"])
def test_stream_of_a_damaged_shard_names_it_and_skips_nothing(objects, version, tmp_path, damage, path, ahead):
    entry = version.file(path)
    data = objects.get_bytes(entry.key)
    if damage == "missing":
        objects.delete(entry.key)
    else:
        flipped = data[:100] + bytes([data[100] ^ 1]) + data[101:]
        other = {"truncated": data[:-20], "empty": b"", "longer": data + b"\0" * 4, "stale": flipped}[damage]
        replace(objects, entry.key, other)
    stream = stream_of(objects, version, tmp_path / "cache", ahead=ahead)
    places = iter(range(len(stream)))
    with pytest.raises(DataLoss, match=path) as caught:
        all(stream.take(place, 1) for place in places)
    assert caught.value.fields["resource"] == entry.key
    position = next(places) - 1
    shard = [s.tokens.path.split(".")[0] for s in split_shards(version, "train")].index(path.split(".")[0])
    assert stream.order.window(position).start == position
    assert shard in stream.order.window(position).shards
    replace(objects, entry.key, data)  # restored from a copy: the same process goes on
    assert len(stream.take(position, len(stream))) == len(stream)


def test_stream_fetches_damaged_cached_files_again(seaweed, tmp_path):
    objects = open_objects(
        ObjectsConfig(f"{seaweed}/cache-bucket", access_key="test-access", secret_key="test-secret-key")
    )
    version = seal(objects, tmp_path / "version")
    stream = stream_of(objects, version, tmp_path / "cache")
    truth = tokens(stream.take(0, SHARDS * ROWS))
    stream._files._writer.shutdown()
    assert len([*(tmp_path / "cache").iterdir()]) == 2 * SHARDS
    for number, path in enumerate(sorted((tmp_path / "cache").iterdir())):
        data = path.read_bytes()
        path.write_bytes(data[:-1] if number % 2 else b"\xff" + data[1:])
    np.testing.assert_array_equal(tokens(stream_of(objects, version, tmp_path / "cache").take(0, SHARDS * ROWS)), truth)


def test_ranges_of_a_large_file_make_the_whole(objects, tmp_path, monkeypatch):
    monkeypatch.setattr("bessemer.artifacts.shard_files.RANGE_BYTES", 1000)
    data = np.random.default_rng(0).bytes(10_500)
    entry = FileEntry.of("train/00000.bin", Blobs(objects, "p").put_bytes(data, "application/octet-stream"))
    assert ShardFiles(objects, tmp_path / "cache").open(entry).tobytes() == data


def test_stream_without_room_for_a_cache_goes_on(objects, version, tmp_path):
    truth = tokens(stream_of(objects, version, tmp_path / "cache").take(0, SHARDS * ROWS))
    (tmp_path / "file").write_bytes(b"")  # nothing can be written below a file
    stream = stream_of(objects, version, tmp_path / "file" / "cache")
    np.testing.assert_array_equal(tokens(stream.take(0, SHARDS * ROWS)), truth)
