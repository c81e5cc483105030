from __future__ import annotations

import io
import json
from email.message import EmailMessage
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_svc.domain.formats import Format, sniff
from data_svc.domain.mail import own_text
from data_svc.domain.reasons import Reason
from data_svc.domain.tables import table_blocks
from data_svc.worker.parsers import parse
from hypothesis import given
from hypothesis import strategies as st

from .packages import RELATION, docx, package, paragraph, related, xlsx


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # as the sandbox does

    def run(data: bytes | str, found: Format, *, rows: bool = False):
        file = tmp_path / "in.bin"
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return list(parse(file, found, rows=rows))

    return run


def test_docx_keeps_headings_lists_and_tables(read) -> None:
    cell = "<w:tc>{}</w:tc>".format
    row = "<w:tr>{}</w:tr>".format
    nested = f"<w:tbl>{row(cell(paragraph('in')))}</w:tbl>"
    body = (
        paragraph("Handbuch", '<w:pStyle w:val="Titel"/>')
        + paragraph("Steel &amp; iron", '<w:pStyle w:val="berschrift2"/>')
        + paragraph("Plain")
        + paragraph("first", '<w:numPr><w:ilvl w:val="0"/></w:numPr>')
        + paragraph("inner", '<w:numPr><w:ilvl w:val="1"/></w:numPr>')
        + paragraph("styled", '<w:pStyle w:val="Aufzhlung"/>')
        + f"<w:tbl>{row(cell(paragraph('Grade')) + cell(paragraph('C | %')))}"
        + f"{row(cell(paragraph('A') + paragraph('b')) + cell(nested))}</w:tbl>"
        + "<mc:AlternateContent><mc:Choice>"
        + paragraph("once")
        + "</mc:Choice><mc:Fallback>"
        + paragraph("once")
        + "</mc:Fallback></mc:AlternateContent><w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
    )
    styles = (
        '<w:style w:styleId="Titel"><w:name w:val="Title"/></w:style>'
        '<w:style w:styleId="berschrift2"><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>'
        '<w:style w:styleId="Aufzhlung"><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>'
    )
    [part] = read(docx(body, styles), Format.DOCX)
    assert part.text == (
        "# Handbuch\n\n## Steel & iron\n\nPlain\n\n- first\n  - inner\n- styled\n\n"
        "| Grade | C \\| % |\n| --- | --- |\n| A b | in |\n\nonce"
    )


def test_pptx_keeps_order_titles_tables_and_notes(read) -> None:
    def shape(kind: str, *texts: str) -> str:
        paragraphs = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in texts)
        return f'<p:sp><p:nvPr><p:ph type="{kind}"/></p:nvPr><p:txBody>{paragraphs}</p:txBody></p:sp>'

    table = "<a:tbl>" + "".join(
        f"<a:tr>{''.join(f'<a:tc><a:p><a:r><a:t>{cell}</a:t></a:r></a:p></a:tc>' for cell in row)}</a:tr>"
        for row in (("Zone", "°C"), ("Hearth", "1500"))
    )
    data = package(
        {
            "ppt/presentation.xml": '<p:x><p:sldId id="256" r:id="rId9"/><p:sldId id="257" r:id="rId2"/></p:x>',
            "ppt/_rels/presentation.xml.rels": related(
                ("rId2", "slide", "slides/slide1.xml"), ("rId9", "slide", "slides/slide2.xml")
            ),
            "ppt/slides/slide1.xml": f"<p:sld>{shape('body', 'Second')}{shape('sldNum', '2')}</p:sld>",
            "ppt/slides/slide2.xml": f"<p:sld>{shape('title', 'Furnace')}<p:graphicFrame>{table}</a:tbl>"
            f"</p:graphicFrame>{shape('body', 'One', 'Two')}</p:sld>",
            "ppt/slides/_rels/slide2.xml.rels": related(("rId1", "notesSlide", "../notesSlides/notesSlide1.xml")),
            "ppt/notesSlides/notesSlide1.xml": f"<p:notes>{shape('body', 'Say it slowly')}</p:notes>",
        }
    )
    [part] = read(data, Format.PPTX)
    assert part.text == (
        "## Furnace\n\n| Zone | °C |\n| --- | --- |\n| Hearth | 1500 |\n\nOne\n\nTwo\n\nNotes: Say it slowly\n\n"
        "## Slide 2\n\nSecond"
    )


def test_xlsx_reads_strings_dates_gaps_and_far_columns(read) -> None:
    styles = (
        '<numFmts><numFmt numFmtId="170" formatCode="[Red]&quot;d&quot;0.0"/></numFmts><cellXfs><xf numFmtId="0"/>'
        '<xf numFmtId="14"/><xf numFmtId="170"/></cellXfs>'
    )
    rows = (
        '<row><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>On</t></is></c><c r="XFD1"><v>7</v></c></row>'
        '<row/><row><c r="A3" t="s"><v>1</v></c><c r="B3" s="1"><v>45292</v></c><c r="D3" s="2"><v>0.1</v></c></row>'
        '<row><c t="b"><v>1</v></c><c t="e"><v>#N/A</v></c><c t="s"><v>99</v></c></row>'
    )
    strings = "<si><t>Name</t></si><si><r><t>Bes</t></r><r><t>semer</t></r><rPh><t>x</t></rPh></si>"
    [part] = read(xlsx(rows, strings, styles), Format.XLSX)
    assert part.suffix == "#Melts"
    assert part.text == (
        "# Melts\n\n| Name | On |  |\n| --- | --- | --- |\n| Bessemer | 2024-01-01 | 0.1 |\n| TRUE | #N/A |  |"
    )


def test_xlsx_with_many_rows_makes_blocks_under_the_same_header(read) -> None:
    rows = "".join(f'<row><c r="A{n}" t="str"><v>value {n} {"x" * 80}</v></c></row>' for n in range(1, 1001))
    parts = read(xlsx(rows), Format.XLSX)
    assert len(parts) > 3
    assert all(part.text.startswith("# Melts\n\n| value 1 x") and len(part.text) < 21_000 for part in parts)
    assert sum(part.text.count("| value ") for part in parts) == 999 + len(parts)
    assert parts[1].suffix.startswith("#Melts:rows")


@given(
    st.lists(st.dictionaries(st.integers(0, 16_000), st.text("ab |\n", max_size=30), max_size=5), max_size=40),
    st.integers(1, 300),
)
def test_table_blocks_hold_every_cell_once_in_bounded_blocks(rows: list[dict[int, str]], limit: int) -> None:
    blocks = list(table_blocks(rows, limit))
    filled = [row for row in rows if any(cell.strip() for cell in row.values())]
    num_lines = sum(len(text.split("\n")) - 2 for _, _, text in blocks)
    assert num_lines == max(len(filled) - 1, 0)
    wanted = sum(cell.count("a") for row in filled[1:] for cell in row.values())
    assert sum(line.count("a") for _, _, text in blocks for line in text.split("\n")[2:]) == wanted
    for _, _, text in blocks:
        body = text.split("\n")[2:]
        assert len(body) < 2 or sum(map(len, body)) <= 3 * limit + 60


def mail(subject: str, body: str, **attachments: bytes) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "Ada <ada@example.org>", "bob@example.org"
    message["Date"], message["Subject"], message["Message-ID"] = "Mon, 1 Jan 2024 10:00:00 +0000", subject, "<1@x>"
    message.set_content(body)
    for name, data in attachments.items():
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name.replace("_", ".", 1))
    return message


def test_eml_keeps_headers_and_own_words_and_reads_attachments(read) -> None:
    body = "Tap at nine.\n\nOn Monday, Bob\n<bob@example.org> wrote:\n> When?\n> Now?\n\nYours\n-- \nAda, furnace 2\n"
    message = mail(
        "Größe", body, plan_md=b"# Plan\n\nPour", x_png=b"\x89PNG\r\n\x1a\n", y_pdf=b"%PDF-1.4", z_zip=b"PK\3\4"
    )
    message.add_attachment(mail("Forwarded", "Inner words"))
    parts = read(message.as_bytes(), Format.EMAIL)
    assert parts[0].text == (
        "From: Ada <ada@example.org>\nTo: bob@example.org\nDate: Mon, 01 Jan 2024 10:00:00 +0000\nSubject: Größe\n\n"
        "Tap at nine.\n\nYours"
    )
    assert (parts[1].suffix, parts[1].text) == ("#attachment1:plan.md", "# Plan\n\nPour")
    assert [part.reason for part in parts[2:5]] == [Reason.BINARY, Reason.PARSE_FAILED, Reason.ARCHIVE_NESTED]
    assert "Inner words" in parts[5].text
    assert sniff(message.as_bytes(), "no-ending")[0] == Format.EMAIL


def test_eml_prefers_plain_text_and_reads_html_alone(read) -> None:
    message = mail("s", "plain words")
    message.add_alternative("<p>rich <b>words</b></p>", subtype="html")
    assert read(message.as_bytes(), Format.EMAIL)[0].text.endswith("\n\nplain words")
    alone = EmailMessage()
    alone.set_content("<p>rich <b>words</b></p>", subtype="html")
    assert read(alone.as_bytes(), Format.EMAIL)[0].text == "rich **words**"


def test_mbox_with_a_broken_message_reads_the_others(read) -> None:
    broken = b"Content-Type: text/plain; charset=nonsense\nSubject: =?x?q?=\n\nB\xe4r\n"
    quotes = mail("q", "> all\n> quoted\n").as_bytes()
    boxed = [mail("one", "From here on\nit flows").as_bytes(), broken, quotes, mail("four", "last").as_bytes()]
    data = b"".join(b"From x Mon Jan 1\n" + item.replace(b"\nFrom ", b"\n>From ") + b"\n" for item in boxed)
    parts = read(data, Format.MBOX)
    assert [part.suffix for part in parts] == ["#message1", "#message2", "#message3", "#message4"]
    assert "From here on\nit flows" in parts[0].text
    assert parts[1].text.endswith("Bär")
    assert parts[2].reason == Reason.EMPTY
    assert sniff(data, "inbox")[0] == Format.MBOX


def test_mail_with_hostile_headers_and_nesting_is_read_or_refused(read) -> None:
    long = b'From: me\nContent-Type: multipart/mixed; boundary="' + b"a;" * 500_000 + b'"\n\nwords'
    assert [part.reason for part in read(long, Format.EMAIL)] == [Reason.EMPTY], "no part begins at that boundary"
    chain = b"Content-Type: message/rfc822\n\n" * 20 + b"Subject: innermost\n\nbody"
    assert [part.reason for part in read(chain, Format.EMAIL)][-1] == Reason.ARCHIVE_NESTED
    multiparts = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000))
    boxed = b"From x\n" + multiparts + b"\n\nFrom x\nSubject: s\n\nnext one"
    assert [part.reason for part in read(boxed, Format.MBOX)] == [Reason.PARSE_FAILED, ""]
    damaged = b"From: \xff\xfe <@@>;,\nSubject: =?utf-8?b?////?=\nTo: <a@\n\nwords"
    assert read(damaged, Format.EMAIL)[0].text.endswith("words")


def test_own_text_of_german_reply_drops_quote_and_history() -> None:
    body = "Ja.\n\nAm 1. Mai schrieb Bob:\n> Geht das?\n\nDanke\n----- Original Message -----\nFrom: Bob\nalt"
    assert own_text(body) == "Ja.\n\n\nDanke"
    assert own_text("Note this:\n\nplain") == "Note this:\n\nplain"


def test_notebook_keeps_prose_and_code_and_drops_outputs(read) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {"cell_type": "code", "source": 'print("""```""")', "outputs": [{"text": "OUTPUT"}]},
        {"cell_type": "code", "source": []},
    ]
    book = {"cells": cells, "metadata": {"kernelspec": {"language": "python"}}, "nbformat": 4}
    [part] = read(json.dumps(book), Format.NOTEBOOK)
    assert part.text == '# Title\nwords\n\n````python\nprint("""```""")\n````'


def test_csv_of_any_delimiter_and_encoding_becomes_tables(read) -> None:
    for data, found in (
        (b'name,note\nA,"x, ""y""\nz"\n', Format.CSV),
        (b'name;note\nA;"x, ""y""\nz"\n', Format.CSV),
        (b'\xef\xbb\xbfname\tnote\r\nA\t"x, ""y""\r\nz"\r\n', Format.TSV),
        ('name,note\nA,"x, ""y""\nz"\n'.encode("utf-16"), Format.CSV),
    ):
        [part] = read(data, found)
        assert part.text == '| name | note |\n| --- | --- |\n| A | x, "y" z |'
    [latin] = read("stadt,land\nKöln,DE\n".encode("latin-1"), Format.CSV)
    assert "Köln" in latin.text


def test_csv_with_an_open_quote_refuses_that_row_and_goes_on(read) -> None:
    data = 'a,b\n1,"' + "x" * 1_200_000 + "\n2,y\n"
    parts = read(data, Format.CSV)
    assert [part.reason for part in parts if part.reason] == [Reason.ROW_INVALID]
    assert any("| 2 | y |" in part.text for part in parts)


def test_parquet_rows_become_records_texts_or_conversations(read) -> None:
    def table(**columns: list[object]) -> bytes:
        stream = io.BytesIO()
        pq.write_table(pa.table(columns), stream)
        return stream.getvalue()

    records = read(table(name=["A", None], heat=[3, 4], image=[b"\xff", b"\xfe"]), Format.PARQUET)
    assert [part.text for part in records] == ["name: A\nheat: 3", "heat: 4"]
    assert [part.suffix for part in records] == ["#row1", "#row2"]
    assert [part.text for part in read(table(text=["one", "two"]), Format.PARQUET)] == ["one", "two"]
    log = [[{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]]
    [row] = read(table(conversations=log), Format.PARQUET, rows=True)
    assert row.format == "CHAT"


def test_chat_logs_of_both_forms_become_the_same_rows(read) -> None:
    wanted = '{"messages":[{"content":"q","role":"user"},{"content":"a","role":"assistant"}]}'
    share = {"id": "1", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
    parts = [{"type": "text", "text": "q"}]
    chat = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "a"}]}
    for data, found in (
        (json.dumps([share, chat]), Format.JSON),
        (json.dumps(share) + "\n" + json.dumps(chat), Format.JSONL),
    ):
        assert [part.text for part in read(data, found, rows=True)] == [wanted, wanted]
        assert [part.text for part in read(data, found)] == ["User: q\n\nAssistant: a"] * 2
    [bad] = read(json.dumps({"messages": [{"role": "user", "content": "q"}]}), Format.JSON)
    assert bad.reason == Reason.ROW_INVALID


def test_code_is_kept_as_it_is(read) -> None:
    source = "def melt(heat):\n\treturn [heat] * 2  # <b>\n"
    found, _ = sniff(source.encode(), "furnace.py")
    assert found == Format.CODE
    assert read(source, found)[0].text == source.rstrip("\n")


def test_external_relations_are_not_followed(read) -> None:
    rels = f'<Relationships><Relationship Id="r1" Type="{RELATION}/slide" TargetMode="External" Target="file:///etc/passwd"/></Relationships>'
    data = package({"ppt/presentation.xml": '<p><sldId r:id="r1"/></p>', "ppt/_rels/presentation.xml.rels": rels})
    assert [part.text for part in read(data, Format.PPTX)] == [""]
