"""Rules for e-mail addresses, bank accounts, and secrets: tokens with known beginnings, keys, and assignments.

All texts are UTF-8 bytes; places are byte offsets.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from data_svc.domain.personal_data import Span

__all__ = ["at_iban", "at_sign", "secrets"]

_LOCAL = bytes(range(0x80, 0xC0)) + bytes(range(0xC3, 0xD5)) + b"_0123456789abcdefghijklmnopqrstuvwxyz"
_LOCAL += b"ABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&'*+/=?^{|}~.-"
_LOCAL_MAX = 64  # RFC 5321, 4.5.3.1.1
_DOMAIN = re.compile(rb"(?:[A-Za-z0-9\xc3-\xd4\x80-\xbf](?:[A-Za-z0-9\x80-\xd4-]{0,61})\.){1,8}[A-Za-z]{2,24}(?![\w])")
_NO_DOMAIN = re.compile(rb"(?:png|jpe?g|gif|svg|css|js|ts|py|html?|service|socket|timer|target|mount|slice|scope)\Z")
_CREDENTIALS = re.compile(rb"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@\"'<>\[\]{}$]{0,64}):([^\s/@\"'<>]{1,128})\Z")
_PLACEHOLDER = re.compile(
    rb"\A(?:[<\[{(%$*]|pass(?:word|wd)?\Z|pwd\Z|secret\Z|token\Z|x{3,}|\.{3}|your|my[-_]?|change.?me|example|dummy)",
    re.IGNORECASE,
)


def at_sign(text: bytes, at: int) -> Iterator[Span]:
    """Yield the e-mail address, or the URL with a password, that the `@` at a place belongs to."""
    domain = _DOMAIN.match(text, at + 1)
    head = text[max(0, at - 220) : at]
    if b"://" in head and (url := _CREDENTIALS.search(head)):
        if not _PLACEHOLDER.match(url[2]):
            host = re.compile(rb"[\w.-]*(?::\d+)?").match(text, at + 1)
            yield Span(at - len(url[0]), host.end() if host else at + 1, "url_credentials")
        return
    if not domain or _NO_DOMAIN.search(domain[0].lower()):
        return
    head = text[max(0, at - _LOCAL_MAX) : at]
    local = head[len(head.rstrip(_LOCAL)) :]
    local = local.lstrip(bytes(range(0x80, 0xC0)) + b"!#$%&'*+/=?^{|}~.-")
    if local and local != b"git" and local[-1:] not in b".'":
        yield Span(at - len(local), domain.end(), "email")


# Lengths by country: SWIFT IBAN registry, release 99.
_COUNTRIES = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
    "YE30"
)
_IBAN_LENGTHS = {entry[:2].encode(): int(entry[2:]) for entry in _COUNTRIES.split()}


def at_iban(text: bytes, start: int) -> Iterator[Span]:
    """Yield the bank account that begins at a place, if its country, length and check digits are right (ISO 13616)."""
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
    if not length:
        return
    found = re.compile(rb"[A-Za-z0-9](?:[ -]{0,3}[A-Za-z0-9]){%d}(?![A-Za-z0-9])" % (length - 1)).match(text, start)
    if not found:
        return
    number = re.sub(rb"[ -]", b"", found[0]).decode().upper()
    if int("".join(str(int(letter, 36)) for letter in number[4:] + number[:4])) % 97 == 1:
        yield Span(found.start(), found.end(), "iban")


_PRIVATE_KEY = rb"(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
# A beginning that stands in nearly no other text, and the form of the whole token.
_TOKENS: tuple[tuple[bytes, str, re.Pattern[bytes]], ...] = tuple(
    (start, kind, re.compile(rb"(?<![A-Za-z0-9])" + form + rb"(?![A-Za-z0-9])", re.DOTALL))
    for start, kind, form in (
        (b"AKIA", "aws_key", rb"AKIA[A-Z0-9]{16}"),
        (b"ASIA", "aws_key", rb"ASIA[A-Z0-9]{16}"),
        (b"ABIA", "aws_key", rb"ABIA[A-Z0-9]{16}"),
        (b"ACCA", "aws_key", rb"ACCA[A-Z0-9]{16}"),
        (b"gh", "github_token", rb"gh[pousr]_[A-Za-z0-9]{36,251}"),
        (b"github_pat_", "github_token", rb"github_pat_[A-Za-z0-9_]{22,255}"),
        (b"glpat-", "gitlab_token", rb"glpat-[A-Za-z0-9_.-]{20,64}"),
        (b"gl", "gitlab_token", rb"gl(?:dt|rt|ptt|cbt|ft|soat|agent|imt|oas)-[A-Za-z0-9_.-]{20,64}"),
        (b"xox", "slack_token", rb"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,250}"),
        (b"xapp-", "slack_token", rb"xapp-\d-[A-Za-z0-9-]{20,250}"),
        (b"hooks.slack.com/", "slack_token", rb"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{20,120}"),
        (b"AIza", "google_key", rb"AIza[A-Za-z0-9_-]{35}"),
        (b"GOCSPX-", "google_key", rb"GOCSPX-[A-Za-z0-9_-]{28}"),
        (b"ya29.", "google_key", rb"ya29\.[A-Za-z0-9_-]{30,300}"),
        (b"k_live_", "stripe_key", rb"[srp]k_live_[A-Za-z0-9]{10,250}"),
        (b"k_test_", "stripe_key", rb"[srp]k_test_[A-Za-z0-9]{10,250}"),
        (b"whsec_", "stripe_key", rb"whsec_[A-Za-z0-9+/=]{24,100}"),
        (b"sk-", "api_token", rb"sk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{32,250}"),
        (b"npm_", "api_token", rb"npm_[A-Za-z0-9]{36}"),
        (b"hf_", "api_token", rb"hf_[A-Za-z]{34,40}"),
        (b"pypi-AgEI", "api_token", rb"pypi-AgEI[A-Za-z0-9_-]{50,500}"),
        (b"dop_v1_", "api_token", rb"dop_v1_[a-f0-9]{64}"),
        (b"SG.", "api_token", rb"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}"),
        (b"eyJ", "jwt", rb"(?<![_.-])eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{4,8000}\.[A-Za-z0-9_-]{16,1500}"),
        (
            b"-----BEGIN ",
            "private_key",
            rb"-----BEGIN " + _PRIVATE_KEY + rb".{20,8000}?-----END " + _PRIVATE_KEY,
        ),
    )
)
_NAMES: tuple[bytes, ...] = (
    *(b"passw", b"pwd", b"passphrase", b"secret", b"token", b"api_key", b"apikey", b"api-key", b"access_key"),
    *(b"access-key", b"accesskey", b"private_key", b"auth_key", b"credential", b"client_key", b"encryption_key"),
)
_ASSIGNMENT = re.compile(
    rb"[\w-]{0,40}[\"'`]?\]?[ \t]{0,4}(?:=>|:=|[:=])[ \t]{0,4}(?:\"([^\"\r\n]{6,256})\"|'([^'\r\n]{6,256})'|"
    rb"([^\s\"'`,;)\]}<>]{6,256}))"
)
_REFERENCE = re.compile(
    rb"[A-Za-z_][\w]*(?:(?:\.|::|->)[A-Za-z_][\w]*)+|.*[()].*|https?://.*|/[\w./-]*|[\w-]+\.\w{1,4}"
)


def secrets(text: bytes) -> Iterator[Span]:
    """Yield tokens with known beginnings, private keys, and values assigned to names such as `password`."""
    for start, kind, form in _TOKENS:
        at = text.find(start)
        while at >= 0:
            begin = at - 1 if start[:2] == b"k_" and at else at
            found = form.match(text, begin)
            if found:
                yield Span(begin, found.end(), kind)
            at = text.find(start, found.end() if found else at + 1)
    lowered = text.lower()
    for name in _NAMES:
        at = lowered.find(name)
        while at >= 0:
            if (found := _ASSIGNMENT.match(text, at + len(name))) and found.lastindex:
                value = found[found.lastindex]
                if _is_secret(value, weak=name[0] == 112 and name[:3] != b"pri"):
                    yield Span(*found.span(found.lastindex), "password")
            at = lowered.find(name, at + len(name))


def _is_secret(value: bytes, *, weak: bool) -> bool:
    """Say whether a value looks drawn at random, or chosen as a password, rather than named or explained.

    `weak` is for names that mean a password: people choose shorter and plainer ones than machines do.
    """
    if b" " in value or _PLACEHOLDER.match(value) or _REFERENCE.fullmatch(value):
        return False
    has_digit = any(48 <= byte <= 57 for byte in value)
    has_letter = value.lower() != value.upper()
    has_other = any(byte in b"!#$%&*+/=?@^~|-.,;:" for byte in value)
    if not (has_letter and (has_digit or (weak and has_other and value.lower() != value))):
        return False
    size = len(value)
    entropy = -sum(count / size * math.log2(count / size) for count in Counter(value).values())
    return entropy >= (2.5 if weak else 3.2)
