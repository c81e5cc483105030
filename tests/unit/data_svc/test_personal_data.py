from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from bessemer.api.data.v1.dataset_pb2 import CurationRecipe, DatasetKind
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.artifacts.texts import read_texts
from bessemer.kernel.errors import InvalidRequest
from data_svc.codec import curation_recipe
from data_svc.domain.personal_data import KINDS, PII, SECRETS, Span, resolve
from data_svc.domain.recipes import Recipe, recipe_of
from data_svc.worker.curate import curate
from data_svc.worker.personal_data import find, redact
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data_svc.conftest import prose

FOUND: dict[str, tuple[str, ...]] = {
    "email": ("a.b+c@example.co.uk", "o'neill@mail.example.org", "jürgen@example.de", "X_1@sub-domain.example.museum"),
    "phone": (
        *("+1 (415) 555-2671", "+49 30 12345678", "+49 (0)89 123456-78", "+44 20 7946 0958", "+33 1 23 45 67 89"),
        *(
            "+41 (0)44 668 18 00",
            "+91 98765 43210",
            "+86 138 0013 8000",
            "+351912345678",
            "+61.404.925.899",
            "0049 30 1234567",
        ),
        *("(650) 253-0000", "212-555-0123", "212.555.0123 ext. 77", "1-800-555-0199x12", "001-234-567-8901"),
        *("030 12345678", "0151/23456789", "020 7946 0958", "(020) 7946 0958", "07700 900123", "(02) 9876 5432"),
        *("(+358) 23 2860129", "(0251)-027346", "(05301) 29040 479", "(86) 6232-8601", "8 896 935 04 92"),
        *("01 23 45 67 89", "01.23.45.67.89", "0412 345 678", "03-1234-5678", "06-12345678", "08-123 456 78"),
    ),
    "credit_card": (
        *("4111 1111 1111 1111", "4111-1111-1111-1111", "4222222222222", "5555555555554444", "2223003122003222"),
        *("378282246310005", "3782 822463 10005", "30569309025904", "3530111333300000", "6011000990139424"),
        *("6304000000000000", "6212345678900000003"),
    ),
    "iban": (
        *("DE89 3704 0044 0532 0130 00", "DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "NO9386011117947"),
        *("FR14 2004 1010 0505 0001 3M02 606", "NL91ABNA0417164300", "MT84MALT011000012345MTLCAST001S"),
    ),
    "us_ssn": ("536-90-4399", "001-01-0001"),
    "ip_address": ("185.12.7.201", "2001:db8:85a3::8a2e:370:7334", "fe80::1ff:fe23:4567:890a"),
    "url_credentials": ("https://admin:s3cret@example.com:8443", "postgres://app:p4ss@localhost"),
    "aws_key": ("AKIAIOSFODNN7EXAMPLE",),
    "github_token": ("ghp_" + "a1B2" * 9, "github_pat_" + "a1B2c3" * 8),
    "gitlab_token": ("glpat-" + "a1B2" * 5,),
    "slack_token": ("xoxb-123456789012-abcDEF123456",),
    "google_key": ("AIza" + "Sy0-_" * 7,),
    "stripe_key": ("sk_live_" + "4eC39HqLyj" * 2,),
    "api_token": ("hf_" + "abCD" * 9, "npm_" + "a1B2" * 9),
    "jwt": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",),
    "private_key": (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nq7f0\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END PRIVATE KEY-----",
    ),
}
NOT_FOUND = (
    *("4111 1111 1111 1112", "id 1234567812345670", "0.4111111111111111", "5226 5259 5293 5326 5360 5394 5428 5462"),
    *("DE88 3704 0044 0532 0130 00", "XX89370400440532013000", "DE8937040044053201300"),
    *("666-12-3456", "000-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "1234-56-7890"),
    *(
        "version 1.2.3.4",
        "section 11.5.2.1",
        "package-1.2.3.4",
        "see 3.4.5.6",
        "127.0.0.1",
        "255.255.255.0",
        "1.2.3.999",
    ),
    *("std::vector<a>", "abc::def", "12:30:45", "00:1A:2B:3C:4D:5E", "::1"),
    *(
        "2024-01-02 10:11:12",
        "1234567890",
        "12 345 678",
        "1.234567890",
        "MA 02110-1301",
        "2009-2013",
        "(2005) 1234-5678",
        "+0200",
    ),
    *("+999 12345678", "gtk+3.0 (3.24.38-2", "U+2217-2218", "~++20210622112436+600074980410"),
    *("image@2x.png", "getty@tty1.service", "git@github.com", "@decorator.name", "package@1.2.3", "user@localhost"),
    *("https://user:${PASSWORD}@example.com", "https://example.com:80/@user", "ghp_short", "AKIAshort", "xoxb-1"),
    *('password = os.environ["X"]', "password: changeme", "password=<password>", "token = get_token(user)"),
    *("the password: letters and digits", "secret: aaaaaaaaaaaaaaaaaaaa1", "-----BEGIN PUBLIC KEY-----\nMIIB"),
)


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in FOUND.items() for value in values])
def test_find_planted_value_is_the_whole_finding(kind: str, value: str) -> None:
    text = f"Überall: {value}, and so on.".encode()
    found = find(text)
    assert [(span.kind, text[span.start : span.end].decode()) for span in found] == [(kind, value)]
    assert redact(text, [kind]).decode() == f"Überall: [{kind.upper()}], and so on."


@pytest.mark.parametrize("text", NOT_FOUND)
def test_find_lookalikes_finds_nothing(text: str) -> None:
    assert find(f"It says {text} here.".encode()) == []


@pytest.mark.parametrize(
    ("before", "value", "kind"),
    [
        ("Phone: ", "9469 9966", "phone"),
        ("inet6 addr:", "2001:db8::1:2", "ip_address"),
        ("Tel:", "030 12345678", "phone"),
        ("server:", "10.0.0.5", "ip_address"),
        ("Tel. ", "12 34 56 78", "phone"),
        ("手机:", "18898259791", "phone"),
        ("Mobil: ", "70 123 45 67", "phone"),
        ("please call me at ", "5403926876", "phone"),
        ("social security number is ", "536904399", "us_ssn"),
        ("his SSN is ", "536 90 4399", "us_ssn"),
        ("the server has the address ", "10.0.0.5", "ip_address"),
        ("password: ", "Tr0ub4dor&3", "password"),
        ("DB_PASSWORD=", "s3cr3tP4ss", "password"),
        ('{"api_key": "', "8f7e6d5c4b3a29180716", "password"),
        ("aws_secret_access_key = ", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "password"),
    ],
)
def test_find_ambiguous_value_needs_its_word(before: str, value: str, kind: str) -> None:
    text = f'{before}{value}"'.encode()
    assert [(span.kind, text[span.start : span.end].decode()) for span in find(text)] == [(kind, value)]


@pytest.mark.parametrize("value", ["9469 9966", "12 34 56 78", "5403926876", "536904399", "10.0.0.5", "Tr0ub4dor&3"])
def test_find_ambiguous_value_without_its_word_finds_nothing(value: str) -> None:
    assert find(f"The amount {value}".encode()) == []


def test_find_folds_blanks_and_hyphens_beyond_ascii() -> None:
    text = "Call +49\u00a030\u202f1234\u20115678 or pay with 4111\u00a01111\u00a01111\u00a01111.".encode()
    assert [span.kind for span in find(text)] == ["phone", "credit_card"]
    assert redact(text, PII) == b"Call [PHONE] or pay with [CREDIT_CARD]."


def test_resolve_overlaps_keeps_the_longest_then_the_most_certain() -> None:
    spans = [Span(0, 5, "phone"), Span(3, 12, "email"), Span(3, 12, "jwt"), Span(12, 14, "phone"), Span(0, 3, "iban")]
    expected = [Span(0, 3, "iban"), Span(3, 12, "jwt"), Span(12, 14, "phone")]
    assert resolve(spans) == resolve(reversed(spans)) == expected


PIECES = [value for values in FOUND.values() for value in values]
GLUE = [
    "",
    " ",
    "\n",
    "+",
    "-",
    ".",
    "1",
    "(",
    "@",
    ":",
    "://",
    "a",
    "é",
    "\u00a0",
    "password=",
    "tel ",
    "[EMAIL]",
    "0",
]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES + GLUE) | st.text("0123456789 +-()./@:ab[]", max_size=12), max_size=12),
    st.sets(st.sampled_from(KINDS)),
)
def test_redact_is_idempotent_and_leaves_no_finding(pieces: list[str], kinds: set[str]) -> None:
    text = "".join(pieces).encode()
    redacted = redact(text, kinds)
    redacted.decode()
    assert not {span.kind for span in find(redacted)} & kinds
    assert redact(redacted, kinds) == redacted
    assert [span.start for span in find(text)] == sorted(span.start for span in find(text))


def test_find_in_hostile_text_stays_linear() -> None:
    for unit in (
        b"(",
        b"+1",
        b"1:",
        b"@a",
        b"a@",
        b"eyJ",
        b"1.",
        b"password=",
        b"x://a:",
        b"DE12",
        b"1 ",
        b"-----BEGIN ",
    ):
        find(unit * (60_000 // len(unit)))


def test_recipe_redact_expands_groups_and_refuses_unknown_words() -> None:
    assert recipe_of(CurationRecipe(kind=1)).redact == ()
    assert recipe_of(CurationRecipe(kind=1, redact=["pii", "email"])).redact == tuple(sorted(PII))
    full = curation_recipe(CurationRecipe(redact=["secrets"]), DatasetKind.DATASET_KIND_TEXT)
    assert list(full.redact) == sorted(SECRETS)
    with pytest.raises(InvalidRequest) as caught:
        recipe_of(CurationRecipe(kind=1, redact=["emails"]))
    assert caught.value.fields["field"] == "curation_job.recipe.redact"
    assert "'emails'" in caught.value.message
    assert "pii" in caught.value.message


def plant(folder: Path) -> None:
    rng = random.Random(0)
    for number in range(4):
        phone = f"+49 30 {rng.randrange(10**7, 10**8)}"
        (folder / f"planted-{number}.txt").write_text(
            f"{prose(500 + number)}\n\nMail person{number}@example.org, {phone}.\n"
        )


def test_curate_with_redaction_keeps_personal_data_out_and_counts_it(
    documents: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    plant(documents)
    texts = {}
    for redacted in ((), ("email",), PII):
        recipe = Recipe(sequence_length=64, heldout_fraction=0.2, redact=tuple(sorted(redacted)))
        manifest = read_manifest(blobs, curate([documents], recipe, tokenizer_path, blobs).manifest)
        folder = fetch(blobs, manifest, tmp_path / str(len(redacted)))
        categories = json.loads((folder / "profile.json").read_text())["categories"]
        assert categories["personal_data/email"] == categories["personal_data/phone"] == 4
        assert "Documents that came with personal data" in (folder / "report.html").read_text()
        texts[len(redacted)] = "".join(
            record["text"] for split in ("train", "heldout") for record in read_texts(folder, split)
        )
    assert texts[0].count("@example.org") == 4
    assert texts[1].count("[EMAIL], +49 30") == 4
    assert texts[len(PII)].count("[EMAIL], [PHONE].") == 4


def test_curate_conversations_with_redaction_cleans_every_message(tmp_path: Path, blobs: Blobs) -> None:
    rows = [
        {"prompt": f"Who is {n}?", "chosen": f"Ask n{n}@example.org", "rejected": "Pay 4111 1111 1111 1111"}
        for n in range(20)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = replace(Recipe(kind="PREFERENCE", heldout_fraction=0.2), redact=("credit_card", "email"))
    folder = fetch(
        blobs, read_manifest(blobs, curate([tmp_path / "rows.jsonl"], recipe, None, blobs).manifest), tmp_path / "v"
    )
    written = "".join(path.read_text() for path in sorted(folder.rglob("*.jsonl")))
    assert "@example.org" not in written
    assert "4111" not in written
    assert written.count('"Ask [EMAIL]"') == 20
    categories = json.loads((folder / "profile.json").read_text())["categories"]
    assert categories["personal_data/email"] == categories["personal_data/credit_card"] == 20
