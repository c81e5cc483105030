"""Erasure: what is picked, and that nothing else changes."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
from bessemer.api.data.v1.dataset_job_pb2 import ErasureReceipt
from bessemer.api.data.v1.dataset_pb2 import CurationResult
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, canonical_json, fetch, read_manifest
from bessemer.artifacts.shard import BOUND, open_split
from bessemer.artifacts.texts import is_text_part, read_texts
from bessemer.kernel.errors import DataLoss, FailedPrecondition, InvalidRequest
from data_svc.domain.erasure import Identifier, Selector, reached, read_identifiers, selector_of_task
from data_svc.domain.recipes import Recipe
from data_svc.domain.terms import UNSTATED, Terms
from data_svc.worker.curate import curate
from data_svc.worker.erase import erase_documents
from data_svc.worker.erased_shards import erase_rows
from data_svc.worker.rewrite import changed, cut, whole_lines
from data_svc.worker.text_search import lines_with
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.data_svc.conftest import prose

SALT = "ab" * 32
RECIPE = Recipe(sequence_length=64, heldout_fraction=0.2)


def identifiers(*spelled: str) -> Selector:
    return read_identifiers(json.dumps({"identifiers": spelled, "salt": SALT}).encode())


@pytest.mark.parametrize(
    ("identifier", "text", "held"),
    [
        ("jane@example.org", "write to Jane@Example.ORG.", True),
        ("jane@example.org", "write to joan@example.org", False),
        ("Jane Doe", "JANE\n  DOE", True),
        ("Jane Doe", "Janet Doe", False),
        ("José García", "jose\u0301 garci\u0301a", True),
        ("王小明", "联系王小明。", True),
        ("+49 30 123-4567", "call (+49) 30/123 4567 now", True),
        ("+49 30 123-4567", "49.30.1234568", False),
        ('The "Boss" \\ Smith', 'the "boss" \\ smith', True),
        ("12345", "only 12 345", False),  # too short to be a phone number
    ],
)
def test_identifier_is_found_in_normal_form_and_never_missed_by_the_filter(identifier, text, held):
    found = Identifier.of(identifier)
    assert found.is_in(text) is held
    block = b'{"text":"before"}\n' + canonical_json({"text": f"x {text} y"}) + b'{"text":"after"}\n'
    texts = [json.loads(block[first:last])["text"] for first, last in lines_with(block, found)]
    assert any(found.is_in(candidate) for candidate in texts) is held


@given(st.text(alphabet="abAB .-19é\n", min_size=3, max_size=8), st.lists(st.text(alphabet="abAB .-19é\n"), max_size=6))
def test_filter_finds_every_line_that_the_plain_comparison_finds(spelled, texts):
    found = Identifier.of(spelled)
    block = b"".join(canonical_json({"text": text}) for text in texts)
    candidates = [json.loads(block[first:last])["text"] for first, last in lines_with(block, found)]
    assert [t for t in candidates if found.is_in(t)] == [t for t in texts if found.is_in(t)]


@pytest.mark.parametrize(
    "data",
    [b"no json", b"{}", b"[1]", b'{"identifiers": ["jane@example.org"], "salt": "short"}']
    + [json.dumps({"identifiers": bad, "salt": SALT}).encode() for bad in ([], ["ab"], [7], ["x" * 321])],
)
def test_identifiers_that_are_not_well_formed_are_refused_without_being_told(data):
    with pytest.raises(InvalidRequest) as caught:
        read_identifiers(data)
    assert "jane" not in caught.value.message


def test_selector_takes_exactly_one_way_to_pick():
    assert selector_of_task(["hr/*"], [], "").takes("hr/a/b.txt")
    assert not selector_of_task(["hr/*"], [], "").takes("shr/a.txt")
    for sources, documents in (([], []), (["a"], ["0" * 32])):
        with pytest.raises(InvalidRequest):
            selector_of_task(sources, documents, "")


def test_reached_follows_only_the_given_relations_and_survives_circles():
    edges = [("d", "m", "trained_on"), ("m", "n", "trained_from"), ("n", "m", "trained_from"), ("m", "r", "evaluates")]
    assert reached(edges, ["d"], frozenset({"trained_on", "trained_from"})) == ["m", "n"]


@given(st.data())
def test_shard_without_documents_keeps_every_other_token_and_none_of_theirs(data):
    rng = random.Random(data.draw(st.integers(0, 10_000)))
    width, pieces, row, offset = 8, [], 0, 0
    for document in range(12):
        length = rng.randint(1, width)
        if offset + length > width:
            row, offset = row + 1, 0
        pieces.append((row, offset, length, document, 0))
        offset += length
    bounds = np.array(pieces, BOUND)
    rows = np.zeros((row + 1, width), np.uint16)
    for at, start, length, document, _ in pieces:
        rows[at, start : start + length] = 100 + document
    before = {document: rows[at, start : start + length].tobytes() for at, start, length, document, _ in pieces}
    gone = data.draw(st.sets(st.integers(0, 11)))
    order = np.array(data.draw(st.permutations(range(len(bounds)))))
    edits, new_bounds = erase_rows(
        bounds[order], np.array(sorted(gone), np.uint32), num_rows=len(rows), row_bytes=2 * width, token_bytes=2
    )
    new_rows = np.frombuffer(b"".join(changed(rows.tobytes(), edits)), np.uint16).reshape(-1, width)
    assert not set(np.unique(new_rows).tolist()) & {100 + document for document in gone}
    after = {
        int(b["document"]): new_rows[b["row"], b["offset"] : b["offset"] + b["length"]].tobytes() for b in new_bounds
    }
    assert after == {document: tokens for document, tokens in before.items() if document not in gone}
    assert set(new_bounds["row"].tolist()) == set(range(len(new_rows)))  # no row is left that holds nothing


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=9), st.data())
def test_cut_leaves_exactly_the_other_lines(lines, data):
    gone = sorted(data.draw(st.sets(st.integers(0, len(lines) - 1))))
    starts = [sum(map(len, lines[:at])) for at in range(len(lines) + 1)]
    left = b"".join(changed(b"".join(lines), cut((starts[at], starts[at + 1]) for at in gone)))
    assert left == b"".join(line for at, line in enumerate(lines) if at not in gone)


@given(
    st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b" "))),
    st.binary(max_size=5),
    st.integers(1, 7),
)
def test_blocks_of_whole_lines_are_the_file_and_end_with_lines(lines, rest, size):
    data = b"".join(line + b"\n" for line in lines) + rest
    found = [*whole_lines(io.BytesIO(data), size)]
    assert b"".join(found) == data
    assert all(block.endswith(b"\n") for block in found[:-1])


def erased(blobs: Blobs, result: CurationResult, selector: Selector, folder: Path):
    receipt = ErasureReceipt()
    folder.mkdir()
    return erase_documents(blobs, result.manifest, selector, folder, receipt), receipt


def pieces_of(folder: Path, manifest: Manifest, split: str) -> dict[int, list[bytes]]:
    opened = open_split(folder, manifest, split)
    found: dict[int, list[bytes]] = {}
    for row in range(len(opened)):
        for offset, length, document in opened.row_documents(row):
            found.setdefault(document, []).append(opened.rows[row][offset : offset + length].tobytes())
    return {document: sorted(pieces) for document, pieces in found.items()}


@pytest.mark.parametrize("terms", [UNSTATED, Terms("CC-BY-4.0", "internal-training", "2999-12-31")], ids=["", "terms"])
def test_text_version_without_a_subject_keeps_all_other_documents(documents, tokenizer_path, blobs, tmp_path, terms):
    for number in (1, 2):
        (documents / f"letter-{number}.txt").write_text(f"From jane@example.org.\n\n{prose(900 + number)}")
    result = curate([documents], RECIPE, tokenizer_path, blobs, terms=terms)
    sealed, receipt = erased(blobs, result, identifiers("JANE@example.org"), tmp_path / "work")
    assert sealed is not None
    old, new = read_manifest(blobs, result.manifest), read_manifest(blobs, sealed.manifest)
    before, after = fetch(blobs, old, tmp_path / "old"), fetch(blobs, new, tmp_path / "new")
    assert receipt.num_documents == 2
    assert {count.reason: count.documents for count in sealed.reasons} == {"kept": 40, "ERASED": 2}
    assert new.facts["erased_from"] == result.manifest.sha256
    gone = {json.loads(line)["number"] for line in (before / "documents.jsonl").open() if "letter-" in line}
    for counts in sealed.splits:
        kept = {d: p for d, p in pieces_of(before, old, counts.split).items() if d not in gone}
        assert pieces_of(after, new, counts.split) == kept
        assert open_split(after, new, counts.split).num_tokens == counts.tokens
        assert len(open_split(after, new, counts.split)) == counts.rows
        texts = [*read_texts(after, counts.split)]
        assert len(texts) == counts.documents
        assert sum(len(record["text"].encode()) for record in texts) == counts.bytes
    assert not any(b"letter-" in path.read_bytes() for path in after.rglob("*") if path.is_file())
    assert b"letter-" not in canonical_json(dict(new.facts))
    # The profile is that of a version that never held them.
    for number in (1, 2):
        (documents / f"letter-{number}.txt").unlink()
    never = read_manifest(blobs, curate([documents], RECIPE, tokenizer_path, blobs, terms=terms).manifest)
    profiles = [json.loads(blobs.get_bytes(manifest.file("profile.json").ref)) for manifest in (new, never)]
    assert new.facts.get("terms") == never.facts.get("terms")
    shown = [without_splits(profile) for profile in profiles]
    assert shown[0] == shown[1]


def without_splits(profile):
    """Return categories and counts; the split of a document may depend on which others there are."""
    categories = {name: count for name, count in profile["categories"].items() if not name.startswith("split/")}
    return categories, {h["measure"]: np.trim_zeros(h["counts"], "b") for h in profile["histograms"]}


def test_row_version_loses_all_rows_of_a_document_and_no_other(blobs, tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    chats = [
        {"messages": [{"role": "user", "content": f"Q{n} {prose(n, 8)}"}, {"role": "assistant", "content": f"A{n}"}]}
        for n in range(30)
    ]
    chats[7]["messages"][1]["content"] = "ask Jane Doe"
    (folder / "chat.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    result = curate([folder], Recipe(kind="CHAT", heldout_fraction=0.2), None, blobs)
    sealed, receipt = erased(blobs, result, identifiers("jane doe"), tmp_path / "work")
    assert sealed is not None
    assert (receipt.num_documents, receipt.rows_changed, receipt.documents[0].rows) == (1, 1, 1)
    old, new = (read_manifest(blobs, m) for m in (result.manifest, sealed.manifest))

    def rows(manifest):
        paths = [entry for entry in manifest.files if entry.path.endswith("rows.jsonl")]
        return [line for entry in paths for line in blobs.get_bytes(entry.ref).splitlines()]

    assert rows(new) == [line for line in rows(old) if b"Jane Doe" not in line]
    assert sum(split.rows for split in sealed.splits) == 29


def test_erasure_of_nothing_makes_nothing_and_of_everything_is_refused(documents, tokenizer_path, blobs, tmp_path):
    result = curate([documents], RECIPE, tokenizer_path, blobs)
    sealed, receipt = erased(blobs, result, identifiers("nobody@example.net"), tmp_path / "work")
    assert sealed is None
    assert receipt.num_documents == 0
    with pytest.raises(FailedPrecondition, match="delete the version"):
        erased(blobs, result, selector_of_task(["*"], [], ""), tmp_path / "more")


def test_erasure_by_source_and_by_id_pick_the_same_and_twice_adds_up(documents, tokenizer_path, blobs, tmp_path):
    result = curate([documents], RECIPE, tokenizer_path, blobs)
    records = [
        json.loads(line)
        for line in blobs.get_bytes(read_manifest(blobs, result.manifest).file("documents.jsonl").ref).splitlines()
    ]
    first, second = records[0], records[5]
    by_source, receipt = erased(blobs, result, selector_of_task([first["source"]], [], ""), tmp_path / "a")
    by_id, _ = erased(blobs, result, selector_of_task([], [first["id"]], ""), tmp_path / "b")
    assert by_source == by_id
    assert receipt.documents[0].source == first["source"]
    twice, _ = erased(blobs, by_id, selector_of_task([], [second["id"]], ""), tmp_path / "c")
    assert {count.reason: count.documents for count in twice.reasons} == {"kept": 38, "ERASED": 2}
    unchanged = {e.path: e.sha256 for e in read_manifest(blobs, result.manifest).files}
    files = {file.path for file in receipt.files}
    for entry in read_manifest(blobs, by_id.manifest).files:
        assert (entry.sha256 == unchanged[entry.path]) is (entry.path not in files)


def test_erasure_acts_on_no_damaged_file(documents, tokenizer_path, blobs, tmp_path):
    (documents / "letter.txt").write_text(f"From jane@example.org.\n\n{prose(900)}")
    manifest = curate([documents], RECIPE, tokenizer_path, blobs).manifest
    receipt, before = ErasureReceipt(), blobs.get_bytes(manifest)
    (tmp_path / "work").mkdir()
    selector = identifiers("jane@example.org")
    erase_documents(blobs, manifest, selector, tmp_path / "work", receipt)
    names = {file.path for file in receipt.files} - {"report.html"}  # which is written anew and never read
    assert {Path(name).suffix for name in names} == {".json", ".jsonl", ".bin", ".bounds"}
    for entry in read_manifest(blobs, manifest).files:
        if entry.path in names or is_text_part(entry.path):
            path = blobs.objects.local_path(entry.key)
            whole = path.read_bytes()
            path.unlink()  # the object itself is read-only
            path.write_bytes(b"x" + whole[1:])
            with pytest.raises(DataLoss, match=entry.sha256):
                erase_documents(blobs, manifest, selector, tmp_path / "work", ErasureReceipt())
            path.write_bytes(whole)
    assert blobs.get_bytes(manifest) == before
