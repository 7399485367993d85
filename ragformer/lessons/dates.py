"""Dates and numbers as people write them, and in one plain form."""

from __future__ import annotations

import datetime
import random
import re
import zlib

ONES = str.split(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
TENS = str.split("twenty thirty forty fifty sixty seventy eighty ninety")
MONTHS = str.split(
    "January February March April May June July August September October November December"
)
DAYS = str.split("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"}
_ORDINALS |= {"nine": "ninth", "twelve": "twelfth"}


def in_words(n: int) -> str:
    """0 to 999,999: "forty-two thousand and seven"."""
    if n >= 1000:
        rest = n % 1000
        joined = " and " if 0 < rest < 100 else " "
        return f"{in_words(n // 1000)} thousand{joined + in_words(rest) if rest else ''}"
    if n >= 100:
        return f"{ONES[n // 100]} hundred{' and ' + in_words(n % 100) if n % 100 else ''}"
    if n >= 20:
        return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
    return ONES[n]


def ordinal(n: int) -> str:
    """1 to 31: "twenty-first"."""
    front, dash, last = in_words(n).rpartition("-")
    last = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return front + dash + last


def year_in_words(year: int) -> str:
    """1900 to 2099: "nineteen oh five", "two thousand and seven", "twenty fourteen"."""
    century, rest = divmod(year, 100)
    if 2000 <= year < 2010:
        return in_words(year)
    last = in_words(rest) if rest >= 10 else f"oh {ONES[rest]}" if rest else "hundred"
    return f"{in_words(century)} {last}"


def written(day: datetime.date, rng: random.Random) -> str:
    """The date in one of the ways people write it."""
    month, short = MONTHS[day.month - 1], MONTHS[day.month - 1][:3]
    end = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 if day.day not in (11, 12, 13) else 0, "th")
    return rng.choice(
        [
            f"{day.day} {month} {day.year}",
            f"{month} {day.day}, {day.year}",
            f"the {day.day}{end} of {month} {day.year}",
            f"{short} {day.day}{end} {day.year}",
            f"{day.day}.{day.month}.{day.year}",
            f"{DAYS[day.weekday()]}, {day.day} {short} {day.year}",
            f"the {ordinal(day.day)} of {month}, {year_in_words(day.year)}",
            f"{month} the {ordinal(day.day)}, {year_in_words(day.year)}",
        ]
    )


def example(rng: random.Random) -> tuple[str, str]:
    """Something written freely, and its plain form: of three, two dates and one number."""
    if rng.random() < 1 / 3:
        n = rng.randrange(10 ** rng.randint(2, 6))
        return in_words(n), str(n)
    day = datetime.date(1900, 1, 1) + datetime.timedelta(rng.randrange(73_000))
    return written(day, rng), day.isoformat()


def held_out(plain: str) -> bool:
    """Whether this date or number is one of the tenth never trained on, in whatever form."""
    return zlib.crc32(plain.encode()) % 10 == 0


def pieces(text: str) -> list[str]:
    """Words, single digits and signs, in small letters."""
    return re.findall(r"[a-z]+|\d|[^\w\s]", text.lower())
