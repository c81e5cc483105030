from __future__ import annotations

from data_svc.domain.facts import Fact, facts_of
from data_svc.domain.questions import Source, ask, conversation, evaluation_case, excerpt, pair, phrasings


def as_dict(facts: list[Fact]) -> dict[tuple[str, str], str]:
    return {(fact.subject, fact.attribute): fact.value for fact in facts}


def test_facts_of_metadata_are_its_headers() -> None:
    text = (
        "Metadata-Version: 2.4\nName: forge\nVersion: 1.2\nSummary: Melts ore\nAuthor-email: Ada Byron <a@b.c>\n"
        "License: MIT\nRequires-Python: >=3.9\nProject-URL: Homepage, https://e.org, Source, https://s.org\n\n# forge\n"
    )
    assert as_dict(facts_of(text, "forge/METADATA")) == {
        ("forge", "version"): "1.2",
        ("forge", "summary"): "Melts ore",
        ("forge", "author"): "Ada Byron",
        ("forge", "license"): "MIT",
        ("forge", "required Python version"): ">=3.9",
        ("forge", "homepage URL"): "https://e.org",
        ("forge", "source URL"): "https://s.org",
    }


def test_facts_of_front_matter_key_lines_and_tables() -> None:
    text = (
        "---\ntitle: Refunds\nowner: Billing\n---\n\n- **Limit**: 90 days\nNote: this is prose that goes on\n\n"
        "| Level | Discount |\n|---|---|\n| Gold | 10 % |\n| Silver | 5 % |\n"
    )
    facts = as_dict(facts_of(text, "refunds.md"))
    assert facts["Refunds", "owner"] == "Billing"
    assert facts["Refunds", "limit"] == "90 days"
    assert facts["Gold", "discount"] == "10 %"
    assert facts["Silver", "discount"] == "5 %"
    assert not any(attribute == "note" for _, attribute in facts)


def test_facts_of_prose_fall_back_to_the_outline() -> None:
    text = "# Guide\n\nThis guide explains the furnace in some detail.\n\n## Start\n\nx\n\n## Stop\n\ny\n"
    facts = as_dict(facts_of(text, "docs/guide.md"))
    assert facts["guide.md", "title"] == "Guide"
    assert facts["Guide", "opening sentence"].startswith("This guide explains")
    assert facts["Guide", "section after 'Start'"] == "Stop"


def test_facts_of_hostile_lines_end_soon() -> None:
    facts_of("# " + " " * 200_000 + "\n" + "|" * 200_000 + "\n" + "[" * 200_000 + "\nA: " + "<" * 900, "x.md")


def test_excerpt_is_short_and_holds_the_value() -> None:
    fact = Fact("x", "license", "MIT", "License: MIT")
    text = "\n".join(f"Line {n}: filler words here" for n in range(200)) + "\nLicense: MIT\n" + "tail " * 300
    for seed in range(20):
        piece = excerpt(text, fact, seed)
        assert "License: MIT" in piece
        assert len(piece) <= 420
    assert excerpt("no such line", fact, 0) == ""


def test_rows_of_a_fact_have_bare_answers_and_plausible_wrong_ones() -> None:
    fact = Fact("forge", "license", "MIT", "License: MIT")
    others = ["MIT", "Apache-2.0", "BSD-3-Clause", "MPL-2.0", "MIT License"]
    prompt = ask(fact, 1, "License: MIT")
    assert "License: MIT" in prompt[0]["content"]
    assert prompt[0]["content"].endswith(phrasings(fact)[1])
    assert conversation(fact, prompt)["messages"][-1] == {"role": "assistant", "content": "MIT"}
    case = evaluation_case(fact, prompt, others, source=Source("d1", "x"), seed=0)
    assert case["cluster"] == "d1"
    assert sorted(case["choices"]) == sorted(["MIT", "Apache-2.0", "BSD-3-Clause", "MPL-2.0"])
    assert pair(fact, prompt, others, 0)["chosen"] == "MIT"
    assert pair(fact, prompt, ["MIT"], 0)["rejected"] not in {"MIT", ""}
