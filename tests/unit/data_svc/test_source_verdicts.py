from __future__ import annotations

from dataclasses import replace

from data_svc.domain.reasons import KEPT, Reason
from data_svc.domain.source_groups import group_sources
from data_svc.domain.source_verdicts import SourceCounts, Verdict, judge_source
from data_svc.domain.structure import RESTRICTED, licences_of, structure_of
from hypothesis import given
from hypothesis import strategies as st

GOOD = SourceCounts(fates={KEPT: 95}, bytes=1_000_000, tokens=250_000)


def test_source_verdict_of_good_documents_is_to_use_them():
    assert judge_source(GOOD, 4.0).verdict is Verdict.USE


def test_source_verdict_of_nothing_but_scans_is_to_reject_them():
    fates = {KEPT: 4, Reason.EMPTY: 96}
    judged = judge_source(replace(GOOD, fates=fates, lost_bytes={Reason.EMPTY: 400}), 4.0)
    assert (judged.verdict, judged.reasons, judged.tokens_at_stake) == (Verdict.REJECT, ("EMPTY",), 100)
    assert judge_source(replace(GOOD, fates={KEPT: 5, Reason.EMPTY: 95}), 4.0).verdict is Verdict.USE_AFTER_FIXES


def test_source_verdict_of_copies_of_what_is_used_is_to_use_it():
    fates = {KEPT: 1, Reason.NEAR_DUPLICATE: 99}
    assert judge_source(replace(GOOD, fates=fates), 4.0).verdict is Verdict.USE


def test_source_verdict_of_evaluation_cases_or_confidential_text_is_to_hold_it_out():
    fates = {KEPT: 94, "CONTAMINATED": 6}
    judged = judge_source(replace(GOOD, fates=fates, lost_bytes={"CONTAMINATED": 4000}), 4.0)
    assert (judged.verdict, judged.reasons, judged.tokens_at_stake) == (Verdict.HOLD_OUT, ("CONTAMINATED",), 1000)
    judged = judge_source(replace(GOOD, restricted_documents=6, restricted_tokens=77), 4.0)
    assert (judged.verdict, judged.reasons, judged.tokens_at_stake) == (Verdict.HOLD_OUT, ("RESTRICTED_LICENCE",), 77)


def test_source_verdict_asks_for_fixes_at_each_threshold():
    def reasons(**changes) -> tuple[str, ...]:
        judged = judge_source(replace(GOOD, **changes), 4.0)
        assert (judged.verdict is Verdict.USE_AFTER_FIXES) == bool(judged.reasons)
        return judged.reasons

    assert reasons(found={"password": 1}) == ("SECRETS",)
    assert reasons(restricted_documents=4, restricted_tokens=9) == ("RESTRICTED_LICENCE",)
    assert reasons(fates={KEPT: 95, "CONTAMINATED": 5}) == ()
    assert reasons(found={"email": 100}) == ()
    assert reasons(found={"email": 101}) == ("PERSONAL_DATA",)
    assert reasons(repeated_tokens=83_000) == ()
    assert reasons(repeated_tokens=84_000) == ("BOILERPLATE",)
    assert reasons(fates={KEPT: 95, Reason.PARSE_FAILED: 5}) == ()
    assert reasons(fates={KEPT: 94, Reason.PARSE_FAILED: 6}) == ("PARSE_FAILED",)


paths = st.lists(st.text("ab/#", min_size=1, max_size=12), max_size=60)


@given(paths)
def test_groups_hold_every_source_in_few_folders_that_contain_it(sources):
    groups = group_sources(sources)
    assert groups.keys() == set(sources)
    assert len(set(groups.values())) <= 16
    for source, group in groups.items():
        assert group == "." or source.startswith(group.rstrip("*"))


def test_groups_divide_the_largest_folder():
    sources = [f"wiki/{team}/{n}.md" for team in ("law", "sales") for n in range(50)] + ["mail/a.eml", "top.txt"]
    groups = group_sources(sources)
    assert set(groups.values()) == {"wiki/law", "wiki/sales", "mail", "."}


def test_structure_counts_what_stands_in_a_document():
    text = (
        b"# Title\n\n- one\n* two\n3. three\n\xe2\x80\xa2 four\n\xe2\x80\x9cnot a list\n\n| a | b |\n|---|---|\n\n"
        b"```\ncode\n```\n    call(x);\n\n## How do I start?\nPress it.\n\nQ: Why?\nA: So.\n\nWhat a day. Is it?\n\n"
        b"User: hi\nAssistant: hello\nUser: more\nAssistant: yes\n"
    )
    found = structure_of(text)
    assert (found.list_items, found.table_rows, found.code_lines) == (4, 2, 3)
    assert (found.headings, found.questions, found.turns, found.pairs) == (2, 2, 4, 4)


def test_licences_are_read_at_both_ends_only():
    mit = b"Permission is hereby granted,\nfree of charge, to any person"
    assert licences_of(mit + b"x" * 100) == ["MIT"]
    assert licences_of(b"x" * 50_000 + b"\n" + mit) == ["MIT"]
    assert licences_of(b"x" * 50_000 + mit + b"x" * 50_000) == []
    assert licences_of(b"# SPDX-License-Identifier: (GPL-2.0-only or MIT)\n") == ["GPL-2.0-only OR MIT"]
    assert licences_of(b"Minutes\n\nSTRICTLY CONFIDENTIAL\n\ntext") == [RESTRICTED]
    assert licences_of(b"keep what you hear confidential and go on") == []
