"""Office files for tests, made of the parts that their parsers look at."""

from __future__ import annotations

import io
import zipfile

RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def package(parts: dict[str, str | bytes]) -> bytes:
    """Return a zip file of the parts, under the content types that every Office file begins with."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        for name, content in parts.items():
            archive.writestr(name, content)
    return stream.getvalue()


def related(*targets: tuple[str, str, str]) -> str:
    """Return the XML of relationships: identifier, kind, target."""
    rows = (f'<Relationship Id="{key}" Type="{RELATION}/{kind}" Target="{target}"/>' for key, kind, target in targets)
    return f"<Relationships>{''.join(rows)}</Relationships>"


def docx(body: str, styles: str = "") -> bytes:
    """Return a Word file with this body."""
    xml = f'<?xml version="1.0"?><w:document xmlns:w="w"><w:body>{body}</w:body></w:document>'
    return package({"word/document.xml": xml, "word/styles.xml": f'<w:styles xmlns:w="w">{styles}</w:styles>'})


def paragraph(text: str, properties: str = "") -> str:
    """Return a paragraph of Word."""
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def xlsx(rows: str, strings: str = "", styles: str = "") -> bytes:
    """Return a workbook with one sheet, `Melts`."""
    return package(
        {
            "xl/workbook.xml": '<workbook><sheets><sheet name="Melts" sheetId="1" r:id="rId1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": related(("rId1", "worksheet", "worksheets/sheet1.xml")),
            "xl/worksheets/sheet1.xml": f"<worksheet><sheetData>{rows}</sheetData></worksheet>",
            "xl/sharedStrings.xml": f"<sst>{strings}</sst>",
            "xl/styles.xml": f"<styleSheet>{styles}</styleSheet>",
        }
    )
