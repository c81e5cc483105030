"""Kinds of personal data and of secrets, and the rules that tell them from other numbers and words.

All texts are UTF-8 bytes; places are byte offsets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import pairwise

__all__ = ["KINDS", "PII", "SECRETS", "WORDS", "Span", "expand", "in_ipv6", "in_number", "resolve"]

# From the most to the least certain: of two findings of the same length the earlier kind stays.
SECRETS = (
    "private_key",
    "url_credentials",
    "jwt",
    "aws_key",
    "github_token",
    "gitlab_token",
    "slack_token",
    "google_key",
    "stripe_key",
    "api_token",
    "password",
)
PII = ("iban", "credit_card", "us_ssn", "ip_address", "email", "phone")
KINDS = (*SECRETS, *PII)
WORDS = ("pii", "secrets", *sorted(KINDS))
_ORDER = {kind: number for number, kind in enumerate(KINDS)}
_GROUPS = {"pii": PII, "secrets": SECRETS}


@dataclass(frozen=True, order=True, slots=True)
class Span:
    """One finding: bytes `start` to `end` are of this kind."""

    start: int
    end: int
    kind: str


def expand(words: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds that words name, sorted; `pii` and `secrets` name all of each.

    Raises: KeyError with the first word that names nothing.
    """
    kinds: set[str] = set()
    for word in words:
        if word not in WORDS:
            raise KeyError(word)
        kinds.update(_GROUPS.get(word, (word,)))
    return tuple(sorted(kinds))


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Return findings that do not overlap, by place: the longest stays, then the most certain kind, then the first."""
    kept: list[Span] = []
    end = 0
    cluster: list[Span] = []
    for span in sorted(spans):
        if span.start >= end:
            kept += _choose(cluster)
            cluster = []
        cluster.append(span)
        end = max(end, span.end)
    return [*kept, *_choose(cluster)]


def _choose(cluster: list[Span]) -> list[Span]:
    if len(cluster) < 2:
        return cluster
    kept: list[Span] = []
    for span in sorted(cluster, key=lambda s: (s.start - s.end, _ORDER[s.kind], s.start)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept)


# Telephone words of the languages that manuals are mostly written in; what stands before a number tells its meaning.
_PHONE_WORD = re.compile(
    rb"(?:phone|\bt\xc3\xa9l|\btel\b|telef|mobil|m\xc3\xb3vil|m\xc3\xb3bil|\bcell\b|\bfax\b|handy|"
    rb"rufnummer|durchwahl|hotline|helpline|\b(?:call|dial|desk|contact|sms|reach|ring|messages?|answering)\b|whatsapp|"
    rb"\btext (?:me|us|him|her|them)\b|\bportable\b|cellulare|celular|puhelin|telefo|"
    rb"\xd1\x82\xd0\xb5\xd0\xbb|\xe6\x89\x8b\xe6\x9c\xba|\xe6\x90\xba\xe5\xb8\xaf|\xed\x9c\xb4\xeb\x8c\x80|"
    rb"\xe7\x94\xb5\xe8\xaf\x9d|\xe9\x9b\xbb\xe8\xa9\xb1|\xec\xa0\x84\xed\x99\x94|"
    rb"(?:my|your|his|her|our|their|office|home|work|contact) (?:number|no))(?:[^0-9\n]|\n(?!\n)){0,32}\Z"
)
_OTHER_NUMBER = re.compile(
    rb"\b(?:order|invoice|account|ticket|case|card|zip|post(?:al)? ?code|port|version|error|serial|model|part|isbn|"
    rb"issn|ssn|pid|uid|id|byte|bytes|function|method|routine|return)s?\b[^0-9]{0,24}\Z"
)
_CARD_WORD = re.compile(rb"(?:\bcards?\b|\bcc\b|\bvisa\b|master ?card|amex|maestro|karte\b)[^0-9]{0,32}\Z")
_SSN_WORD = re.compile(rb"(?:\bssn\b|social security)[^0-9]{0,32}\Z")
_IP_WORD = re.compile(
    rb"(?:\bip(?:v4|v6)?\b|\bip.?addr|address|\bhosts?\b|server|gateway|\bdns\b|nameserver|\bping\b|\bssh\b|\blogin|"
    rb"\bclient|subnet|network|netmask|\blisten|\bconnect|\bbind\b|\brouter?\b|remote|peer|proxy|firewall|"
    rb"\binet6?\b|traceroute|://|@)[^0-9\n]{0,32}\Z"
)
_VERSION_WORD = re.compile(
    rb"(?:version|release|\brev\b|revision|section|chapter|clause|\xc2\xa7|\bsec\.|figure|table|appendix|step|"
    rb"\bv|\br|[=<>~^]=?|update|upgrade[sd]?|firmware|kernel|build|upstream)[ :\"'(]{0,3}\Z"
)
_CONTEXT = 56  # bytes before a number that may hold the word that tells its meaning
_WORD = frozenset(b"_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

# ITU-T E.164 country codes.
_CODES = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 "
    "86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 "
    "237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 "
    "266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 "
    "380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 "
    "597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 "
    "853 855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 "
    "979 992 993 994 995 996 998"
)
_CALLING_CODES = frozenset(_CODES.split())
_INTERNATIONAL = re.compile(
    rb"(?:(?<![\d)+])\(?\+ ?|(?<![\d.])00[ .-]?)(?:\([1-9]\d{0,2}\)|[1-9]\d*)(?:[ ./()-]{1,3}\d+)*"
)
_NANP = re.compile(
    rb"(?<![\d.-])(?:1[ .-])?(?:\([2-9]\d\d\)[ .-]?\d{3}[ .-]\d{4}|[2-9]\d\d([.-])\d{3}\1\d{4}|"
    rb"[2-9]\d\d/[2-9]\d\d-\d{4}|[2-9]\d\d-[2-9]\d\d \d{4}|[2-9]\d\d [2-9]\d\d-\d{4}|"
    rb"(?<!\d )[2-9]\d\d [2-9]\d\d \d{4}(?! \d))(?!\d)"
)
_TRUNK = re.compile(
    rb"\(0[1-9]\d{0,4}\)[ -]{0,2}\d{2,8}(?:[ -]\d{2,6}){0,3}|0[1-9]\d{1,4}[/ -]{1,3}\d{3,8}|"
    rb"0[1-9](?:([ .-])\d\d)(?:\1\d\d){3}|0[1-9]\d{0,4}(?:[ /-]{1,2}\d{2,5}){2,4}|0[1-9] \d{4} ?\d{4}|"
    rb"0[1-9]-\d{7,8}|\((?!19\d\d|20\d\d)[1-9]\d{1,3}\) ?\d{3,5}[ -]\d{3,4}|8 \(?\d{3}\)? \d{3}[ -]\d\d[ -]?\d\d"
)
_JOINTS = frozenset({b"-", b"/", b".", b"=", b"_", b"#", b"$"})
_LOCAL = re.compile(rb"\d{7,12}|\(?\d{1,5}\)?(?:[ ./()-]{1,3}\d{1,9}){0,6}")
_DATE = re.compile(
    rb"(?:(?:19|20)\d\d {0,2}[-/ ] {0,2}(?:19|20)\d\d|"
    rb"\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4}|\d+\.\d+)(?:[ -].*)?"
)
_POSTCODE = re.compile(rb"\d{5}-\d{4}")  # ZIP+4
_EXTENSION = re.compile(rb" {0,2}(?:x|ext\.?|extension|#) ?\d{1,6}(?![\w])", re.IGNORECASE)
_SSN = re.compile(rb"(?<![\d-])(?!000|666|9)\d{3}([ -]?)(?!00)\d\d\1(?!0000)\d{4}(?![\d-])")
_IPV4 = re.compile(rb"(?<![\d.])(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}(?![\d]|\.\d)")
_GROUP = re.compile(rb"\d+")


def in_number(text: bytes, start: int, end: int) -> Iterator[Span]:
    """Yield what a run of digits, blanks and `()+-./` holds: IPv4 addresses, cards, US SSN and phones."""
    before = text[max(0, start - _CONTEXT) : start].lower()
    after = text[end : end + 1]
    run = text[start:end]
    if run.count(b".") >= 3:
        yield from _ipv4(text, start, end)
    num_digits = sum(map(len, _GROUP.findall(run)))
    joined = bool(after) and after[0] in _WORD  # the last group is the beginning of a word
    if num_digits >= 12:
        for card in _cards(run, start, named=bool(_CARD_WORD.search(before))):
            if (card.start > start or before[-1:] not in {b"-", b"_"}) and (card.end < end or not joined):
                yield card
    if num_digits >= 9:
        for found in _SSN.finditer(text, start, end):
            if found[1] == b"-" or _SSN_WORD.search(text[max(0, found.start() - _CONTEXT) : found.start()].lower()):
                yield Span(found.start(), found.end(), "us_ssn")
    if num_digits >= 7 and (not joined or _EXTENSION.match(text, end)):
        for low, high in _phones(run, before):
            extension = _EXTENSION.match(text, start + high) if start + high == end else None
            yield Span(start + low, extension.end() if extension else start + high, "phone")


def _phones(run: bytes, before: bytes) -> Iterator[tuple[int, int]]:
    """Yield phone numbers: international, North American, with a trunk zero, and any other after a telephone word."""
    called = bool(_PHONE_WORD.search(before)) and not _OTHER_NUMBER.search(before)
    joined = before[-1:] in _JOINTS  # the first group is the end of a name or of a path
    found = []
    if not (joined and run.startswith(b"00")) and not (run.startswith(b"+") and before[-1:].isalnum()):
        found = [place for match in _INTERNATIONAL.finditer(run) if (place := _international(match, called=called))]
    if not found and not joined:
        found = [match.span() for match in _NANP.finditer(run)]
    if found:
        yield from found
        return
    digits = sum(map(len, _GROUP.findall(run)))
    if joined or _DATE.fullmatch(run):
        return
    trunk = 9 <= digits <= 13 and _TRUNK.fullmatch(run) and not _POSTCODE.fullmatch(run)
    if trunk or (called and 7 <= digits <= 15 and _LOCAL.fullmatch(run)):
        yield 0, len(run)


def _international(match: re.Match[bytes], *, called: bool) -> tuple[int, int] | None:
    """Return the part of a match that is a number of a known country, of at most 15 digits (ITU-T E.164)."""
    zeros = match[0].startswith(b"00")
    groups = list(_GROUP.finditer(match[0]))
    if zeros and (
        match[0] != match.string
        or len({len(group[0]) for group in groups}) == 1
        or (len(groups) == 1 and not called)
        or b"." in match[0]
    ):
        return None
    if _IPV4.fullmatch(match[0].lstrip(b"+ ")) and all(int(group[0]) < 256 for group in groups):
        return None
    digits = b"".join(group[0] for group in groups).decode()[2 if zeros else 0 :]
    if not any(digits[:size] in _CALLING_CODES for size in (1, 2, 3)):
        return None
    size_max = (11 if digits[0] == "1" else 15) + (2 if zeros else 0)
    size, end = 0, 0
    for group in groups:
        size += len(group[0])
        if size > size_max:
            break
        end, used = group.end(), size
    if not end or used - (2 if zeros else 0) < (10 if digits[0] == "1" else 8):
        return None
    return match.start(), match.start() + end


# Issuer ranges and lengths: ISO/IEC 7812 as the schemes publish them. Prefix from, prefix to, lengths.
_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = (
    (4, 4, frozenset({13, 16, 19})),  # Visa
    (51, 55, frozenset({16})),  # Mastercard
    (2221, 2720, frozenset({16})),
    (34, 34, frozenset({15})),  # American Express
    (37, 37, frozenset({15})),
    (300, 305, frozenset({14, 16})),  # Diners Club
    (36, 36, frozenset({14, 16})),
    (38, 39, frozenset({14, 16})),
    (3500, 3599, frozenset({16, 17, 18, 19})),  # JCB
    (1800, 1800, frozenset({15})),
    (2131, 2131, frozenset({15})),
    (6011, 6011, frozenset({16, 19})),  # Discover
    (644, 659, frozenset({16, 19})),
    (62, 62, frozenset({16, 17, 18, 19})),  # UnionPay
    (81, 82, frozenset({16})),  # RuPay
    (60, 60, frozenset({16})),
    (508, 508, frozenset({16})),
    (2200, 2204, frozenset({16})),  # Mir
    (67, 67, frozenset({16, 18, 19})),  # Maestro
    *((p, p, frozenset(range(12, 20))) for p in (5018, 5020, 5038, 5612, 5893, 6304, 6390, 6759, 6761, 6762, 6763)),
)
_LUHN_DOUBLE = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_CARD_DIGITS_MAX = 19


def _cards(run: bytes, offset: int, *, named: bool) -> Iterator[Span]:
    groups = list(_GROUP.finditer(run))
    at = 0
    while at < len(groups):
        last = next(
            (end for end in range(min(at + 7, len(groups)), at, -1) if _card(run, groups[at:end], named=named)), 0
        )
        if last:
            yield Span(offset + groups[at].start(), offset + groups[last - 1].end(), "credit_card")
        at = max(last, at + 1)


def _card(run: bytes, groups: list[re.Match[bytes]], *, named: bool) -> bool:
    """Say whether groups between like separators are a card number: issuer, length, Luhn (ISO/IEC 7812-1 annex B).

    After a word such as "card" any issuer will do.
    """
    digits = "".join(group[0].decode() for group in groups)
    if not 12 <= len(digits) <= _CARD_DIGITS_MAX or len(set(digits)) < 2:
        return False
    separators = {run[a.end() : b.start()] for a, b in pairwise(groups)}
    if len(separators) > 1 or (separators and not separators <= {b" ", b"-", b".", b"  ", b"   ", b" - "}):
        return False
    if len(groups) > 1 and (len(groups[0][0]) != 4 or any(not 3 <= len(g[0]) <= 7 for g in groups[1:-1])):
        return False
    start, end = groups[0].start(), groups[-1].end()
    before, after = run[max(0, start - 6) : start], run[end : end + 6]
    if re.search(rb"\d\.\Z|(?<!\d)\d{4}[ -]\Z", before) or re.match(rb"[ -]\d{4}(?!\d)", after):
        return False  # the digits of a fraction, or a row of four-digit numbers
    if not named and not any(
        len(digits) in lengths and low <= int(digits[: len(str(low))]) <= high for low, high, lengths in _ISSUERS
    ):
        return False
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(_LUHN_DOUBLE[int(digit)] for digit in even)) % 10 == 0


def _ipv4(text: bytes, start: int, end: int) -> Iterator[Span]:
    for found in _IPV4.finditer(text, start, end):
        low, high = found.span()
        octets = [int(part) for part in found[0].split(b".")]
        # Not hosts: this network, loopback, multicast, reserved and masks (RFC 6890).
        if max(octets) > 255 or octets[0] in {0, 127} or octets[0] >= 224:
            continue
        after = text[high : high + 1]
        if after and (after[0] in _WORD or (after == b"-" and text[high + 1 : high + 2].isalnum())):
            continue
        before = text[max(0, low - _CONTEXT) : low].lower()
        if before[-1:].isalnum() or before[-1:] in {b"-", b"_", b"+"} or _VERSION_WORD.search(before):
            continue
        named = _IP_WORD.search(before) or re.match(rb":\d{2,5}\b|/\d\d?\b", text[high : high + 6])
        if named or (_is_varied(octets) and not _in_sequence(text, found)):
            yield Span(low, high, "ip_address")


def _is_varied(octets: list[int]) -> bool:
    """Say whether the numbers are larger than those of versions and sections usually are."""
    return max(octets) >= 100 or sum(octet >= 32 for octet in octets) >= 2


def _in_sequence(text: bytes, found: re.Match[bytes]) -> bool:
    """Say whether the neighbouring number is near too, as it is in lists of versions and of sections."""
    stem, _, last = found[0].rpartition(b".")
    window = text[max(0, found.start() - 600) : found.end() + 600]
    return any(b"%b.%d" % (stem, int(last) + step) in window for step in (-1, 1) if int(last) + step > 0)


def in_ipv6(text: bytes, start: int, end: int) -> Iterator[Span]:
    """Yield the IPv6 address that a run of hexadecimal digits, colons and dots is."""
    written = text[start:end].rstrip(b".:") if not text[start:end].endswith(b"::") else text[start:end]
    try:
        address = IPv6Address(written.decode())
    except ValueError:
        return
    groups = [group for group in written.split(b":") if group]
    named = _IP_WORD.search(text[max(0, start - _CONTEXT) : start].lower())
    if not (address.is_loopback or address.is_unspecified) and (len(groups) >= 3 or (named and len(groups) >= 2)):
        yield Span(start, start + len(written), "ip_address")
