from __future__ import annotations

import re
from collections import Counter

import pytest
from data_svc.domain.quality_rules import RULES, Failure, QualityMeasures, Rule, failures, first_failure
from data_svc.worker.quality import PHRASES, STOP_WORDS, measure
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data_svc.conftest import prose

STOPS = (".", "!", "?", "。", "\uff01", "\uff1f")
BLANK = "".join(map(chr, range(33)))
MARK = re.compile("[\u2000-\u203f\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]")
MARKS = re.compile(rf"([-.~^])\1*|{MARK.pattern}")
SPACE = "\x00-\x20\x85\xa0\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
WORDY = "A-Za-z0-9\x80-\u1fff\u2040-\U0010ffff"  # all but marks
LETTER = "A-Za-z\xc0-\u1fff\u2c00-\U0010ffff"
NEXT = "A-Za-z\xc0-\u1fff\u3000-\U0010ffff"  # letters that a word is cut before
CUTS = re.compile(
    f"(?<=[{WORDY}])[-/:<=>](?=[{NEXT}])|(?<=[0-9])-(?=[0-9])|(?<=[a-z])[.](?=[A-Z])"
    f"|(?<=[A-Za-z\x80-\u1fff\u2040-\U0010ffff]),(?=[{NEXT}])"
)


def chunk_tokens(chunk: str) -> tuple[list[str], int, bool]:
    """Return the tokens of what stands between blanks, how many sentences end in it, and whether one at its end."""
    start, end = 0, len(chunk)
    while start < end and MARK.match(chunk[start]):
        start += 1
    while end > start and MARK.match(chunk[end - 1]):
        end -= 1
    leading, trailing = ([m[0] for m in MARKS.finditer(part)] for part in (chunk[:start], chunk[end:]))
    stem = end - 2 if end - start > 2 and re.fullmatch("['\u2019][sS]", chunk[end - 2 : end]) else end
    middle, at, sentences = [], start, 0
    for cut in CUTS.finditer(chunk[:stem], start + 1):
        middle += [chunk[at : cut.start()], cut[0]]
        sentences += cut[0] == "."
        at = cut.end()
    middle += [part for part in (chunk[at:stem], chunk[stem:end]) if part]
    ending = trailing if start < end else leading
    terminal = any(mark == "." or mark[0] in "!?" for mark in ending)
    return [*leading, *middle, *trailing], sentences, terminal


def chunks_of(line: str) -> list[str]:
    return [chunk for chunk in re.split(f"[{SPACE}]+", line) if chunk]


def is_word(token: str) -> bool:
    return bool(re.search(f"[{WORDY}]", token))


def share(part: float, whole: float) -> float:
    return part / max(whole, 1)


def top(tokens: list[str], words: int) -> int:
    grams = Counter(tuple(tokens[at : at + words]) for at in range(len(tokens) - words + 1))
    times = max(grams.values(), default=0)
    return times * max(len(" ".join(gram)) for gram, n in grams.items() if n == times) if times > 1 else 0


def duplicated(tokens: list[str], words: int) -> int:
    seen, characters, at = set(), 0, 0
    while at + words <= len(tokens):
        gram = tuple(tokens[at : at + words])
        if gram in seen:
            characters += sum(map(len, gram))
            at += words
        else:
            seen.add(gram)
            at += 1
    return characters


def repeated(items: list[str]) -> list[str]:
    seen: set[str] = set()
    return [item for item in items if item in seen or seen.add(item)]  # type: ignore[func-returns-value]


def retained(line: str) -> tuple[bool, bool, bool]:
    """Say whether a line counts as one with lorem ipsum, as one with a curly bracket, and as retained."""
    chunks = chunks_of(line)
    flags = {flag for phrase, flag in PHRASES if phrase in re.sub("[A-Z]", lambda m: m[0].lower(), line)}
    if len(chunks) < 3 or max(map(len, chunks)) > 1000:
        return False, False, False
    return 2 in flags, "{" in line and 1 not in flags, not flags & {1, 4}


def measure_in_python(text: str) -> QualityMeasures:
    lines = [stripped for line in text.split("\n") if (stripped := line.strip(BLANK))]
    blocks = [re.findall(r"[^\n]+", block) for block in re.split(f"\n[{BLANK}]*\n", text)]
    paragraphs = ["\n".join(s for line in block if (s := line.strip(BLANK))) for block in blocks]
    paragraphs = [paragraph for paragraph in paragraphs if paragraph]
    read = [[chunk_tokens(chunk) for chunk in chunks_of(line)] for line in lines]
    tokens = [token for line in read for chunk, *_ in line for token in chunk]
    words = [token for token in tokens if is_word(token)]
    fates = [retained(line) for line in lines]
    kept = [line for line, fate in zip(lines, fates, strict=True) if fate[2]]
    kept_read = [line for line, fate in zip(read, fates, strict=True) if fate[2]]
    ellipsis_lines = [line for line in lines if line.endswith(("...", "…"))]
    terminal = [line for line in lines if line.endswith((*STOPS, '"', "'")) and not line.endswith(("...", "…"))]
    size, newlines = len(text), len(kept) - 1
    return QualityMeasures(
        size,
        len(tokens),
        len(words),
        share(sum(map(len, words)), len(words)),
        share(text.count("#"), len(tokens)),
        share(text.count("...") + text.count("…"), len(tokens)),
        share(sum(line[0] in "-•" for line in lines), len(lines)),
        share(len(ellipsis_lines), len(lines)),
        share(sum(bool(re.search(f"[{LETTER}]", word)) for word in words), len(tokens)),
        len(set(tokens) & set(STOP_WORDS)),
        share(len(repeated(lines)), len(lines)),
        share(sum(map(len, repeated(lines))), size),
        share(len(repeated(paragraphs)), len(paragraphs)),
        share(sum(map(len, repeated(paragraphs))), size),
        *(share(top(tokens, n), size) for n in range(2, 5)),
        *(share(duplicated(tokens, n), size) for n in range(5, 11)),
        share(len(terminal), len(lines)),
        share(len(kept), len(lines)),
        sum(lorem for lorem, _, _ in fates),
        sum(curly for _, curly, _ in fates),
        sum(1 + sum(inside for _, inside, _ in line) + sum(ends for *_, ends in line[:-1]) for line in kept_read),
        share(sum(line.endswith(STOPS) for line in kept), len(kept)),
        share(sum(len(line) <= 30 for line in kept), len(kept)),
        share(sum(map(len, repeated(kept))), sum(map(len, kept))),
        share(max(newlines, 0), sum(len(chunk) for line in kept_read for chunk, *_ in line)),
    )


PIECES = st.one_of(
    st.sampled_from(
        ["the", "to", "with", "a-b", "x/y", "3:4", "-", "--", "•", "...", "…", "“é”", "#", "{", "1", ".", "?!"]
    ),
    st.sampled_from(["JavaScript", "lorem ipsum", "Terms of use", "uses cookies", "use of cookies", "cookie polic"]),
    st.sampled_from(
        [" ", " ", " ", "\n", "\n\n", "\n \n", "\t", " one two three four five six. ", "\nagain and again.\n"]
    ),
    st.sampled_from(
        ["IL-2", "20-minute", "Women's", "x\u2019S,", "done.Next", "p\u2009=\xa00.3", "≥30", "5 \xb5g", "ⴰ"]
    ),
    st.text(alphabet="aBs1 .,-/='\u2009é語。\u2018\n", max_size=6),
)


@given(st.lists(PIECES, max_size=60).map("".join))
@settings(max_examples=400, deadline=None)
def test_measures_of_a_text_are_those_of_the_plain_definition(text: str) -> None:
    assert measure(text.encode())._asdict() == pytest.approx(measure_in_python(text)._asdict(), abs=1e-12)


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_measures_of_any_characters_are_those_of_the_plain_definition(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    assert measure(text.encode())._asdict() == pytest.approx(measure_in_python(text)._asdict(), abs=1e-12)


def test_measures_of_long_repetitive_texts_are_those_of_the_plain_definition() -> None:
    for text in (prose(1, 900), "buy cheap pills now\n" * 300, (prose(2, 60) + "\n\n") * 7 + prose(3, 200), "x" * 1500):
        assert measure(text.encode())._asdict() == pytest.approx(measure_in_python(text)._asdict(), abs=1e-12)


BEST = QualityMeasures(*[0.0] * len(QualityMeasures._fields))._replace(
    words=500, mean_word_length=5, letter_token_share=0.9, stop_words=4, sentences=20, punctuated_line_share=0.8
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_broken_by_a_hair_is_the_one_named_with_its_value(rule: Rule) -> None:
    assert first_failure(BEST) is None
    for bound, beyond in ((rule.low, -1e-6), (rule.high, 1e-6)):
        if abs(bound) == float("inf"):
            continue
        assert first_failure(BEST._replace(**{rule.measure: bound})) is None
        assert failures(BEST._replace(**{rule.measure: bound + beyond})) == [Failure(rule, bound + beyond)]


def test_failure_says_rule_measure_value_and_bound() -> None:
    failed = first_failure(measure(b"tiny"))
    assert str(failed) == "gopher/words: words 1 is below 50"
