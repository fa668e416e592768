"""Numbers with units: how they are written, what they come to, and when two are the same.

A unit is a factor to the base unit of its dimension (gram, metre, second, watt, ...; NIST SP 811,
appendix B, for the imperial ones). Units of one system convert exactly (0.09 kg is 90 g); between
systems (inch and centimetre, month and day) people round, so a converted number need only agree to
the digits that are written and to 1 %.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_YEAR = 365.25 * 86_400

#: dimension -> system -> factor to the base unit -> names of the unit.
_UNITS: dict[str, dict[str, dict[float, str]]] = {
    "mass": {
        "metric": {
            1e-3: "mg milligram milligrams 毫克",
            1.0: "g gr gram grams gramme grammes 克",
            1e3: "kg kgs kilo kilos kilogram kilograms kilogramme 千克 公斤",
            500.0: "斤",
            1e6: "tonne tonnes 吨",
        },
        "imperial": {28.349523125: "oz ounce ounces 盎司", 453.59237: "lb lbs pound pounds 磅"},
    },
    "length": {
        "metric": {
            1e-6: "µm μm micron microns micrometre micrometres 微米",
            1e-3: "mm millimetre millimetres millimeter millimeters 毫米",
            1e-2: "cm centimetre centimetres centimeter centimeters 厘米 公分",
            1.0: "m metre metres meter meters 米",
            1e3: "km kilometre kilometres kilometer kilometers 公里 千米",
        },
        "imperial": {
            0.0254: '" inch inches 英寸 寸',
            0.3048: "ft foot feet 英尺",
            0.9144: "yd yard yards 码",
            1609.344: "mile miles 英里",
        },
    },
    "time": {
        "clock": {
            1e-3: "ms millisecond milliseconds 毫秒",
            1.0: "s sec second seconds 秒",
            60.0: "min mins minute minutes 分钟",
            3600.0: "h hr hrs hour hours 小时",
            86_400.0: "day days 天 日",
            604_800.0: "week weeks 周 星期",
        },
        "calendar": {
            _YEAR / 12: "month months 月 个月",
            _YEAR: "year years yr yrs 年",
            10 * _YEAR: "decade decades",
        },
    },
    "volume": {
        "metric": {
            1e-3: "ml millilitre millilitres milliliter milliliters 毫升",
            1e-2: "cl centilitre centilitres",
            1.0: "l litre litres liter liters 升",
        },
        "imperial": {0.0295735295625: "floz", 3.785411784: "gal gallon gallons 加仑"},
    },
    "area": {"metric": {1.0: "m2 sqm 平方米 平米", 1e-4: "cm2 平方厘米"}},
    "power": {"metric": {1e-3: "mw", 1.0: "w watt watts 瓦", 1e3: "kw kilowatt kilowatts 千瓦"}},
    "energy": {"metric": {1.0: "wh", 1e3: "kwh 度电"}},
    "charge": {"metric": {1.0: "mah 毫安时", 1e3: "ah 安时"}},
    "data": {
        "metric": {
            1e-6: "kb kilobyte kilobytes",
            1e-3: "mb megabyte megabytes",
            1.0: "gb gigabyte gigabytes",
            1e3: "tb terabyte terabytes",
        }
    },
    "rate": {"metric": {1e-3: "kbps", 1.0: "mbps", 1e3: "gbps"}},
    "speed": {"metric": {1.0: "km/h kmh kph 公里/小时"}, "imperial": {1.609344: "mph"}},
    "frequency": {"metric": {1.0: "hz 赫兹", 1e3: "khz", 1e6: "mhz", 1e9: "ghz"}},
    "sound": {"metric": {1.0: "db dba decibel decibels 分贝"}},
    "light": {"metric": {1.0: "lm lumen lumens 流明"}},
    "illuminance": {"metric": {1.0: "lux 勒克斯"}},
    "luminance": {"metric": {1.0: "nit nits 尼特"}},
    "share": {"metric": {1.0: "% percent"}},
    "voltage": {"metric": {1.0: "v volt volts 伏"}},
    "pixels": {"metric": {1.0: "mp megapixel megapixels 万像素"}},
    "pressure": {"metric": {1e5: "bar bars", 1e3: "kpa", 1.0: "pa"}},
    "denier": {"metric": {1.0: "d denier"}},
    "rotation": {"metric": {1.0: "rpm"}},
    "dots": {"metric": {1.0: "dpi ppi"}},
    "degrees": {"metric": {1.0: "° degree degrees 度"}},
}
#: Name of a unit -> (dimension, system, factor).
UNITS: dict[str, tuple[str, str, float]] = {
    name: (dimension, system, factor)
    for dimension, systems in _UNITS.items()
    for system, factors in systems.items()
    for factor, names in factors.items()
    for name in names.split()
}
#: Units of two words.
TWO_WORD_UNITS = {
    **{(first, second): "m2" for first in ("square", "sq") for second in ("m", "metre", "meter")},
    **{("square", second): "m2" for second in ("metres", "meters")},
    ("per", "cent"): "%",
    ("fluid", "ounces"): "floz",
}
#: Longest name of a unit in Chinese characters.
LONGEST_CHINESE = max(len(name) for name in UNITS if not name.isascii())

_PLAIN = re.compile(r"\d+(?:\.\d+)?")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DIGITS = re.compile(r"(\d[\d.,]*)([^\d.,].*)?", re.ASCII)
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
NUMBER_WORDS: dict[str, float] = {word: float(n) for n, word in enumerate(_ONES)} | {
    word: 10.0 * n for n, word in enumerate(_TENS, 2)
}
_CHINESE_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_CHINESE_POWERS = {"十": 10, "百": 100, "千": 1000}
CHINESE_NUMERALS = frozenset("零〇一二两三四五六七八九十百千万半")


@dataclass(frozen=True)
class Quantity:
    """A number with a unit."""

    dimension: str
    #: Amount in the base unit of the dimension.
    amount: float
    system: str
    #: Half of the last digit that is written, in the base unit: how far rounding may have gone.
    slack: float

    @property
    def key(self) -> tuple[str, float]:
        """What two ways of writing one quantity share, where no rounding is involved."""
        return self.dimension, float(f"{self.amount:.9g}")


def read_number(text: str) -> float | None:
    """Return the number that digits write, or None: 1,000 and 1000, 1.5, never 1,5 or 1.2.3.

    English and Chinese shops write the decimal point and group thousands by commas, so 1.000 is 1.
    """
    if _PLAIN.fullmatch(text):
        return float(text)
    if _GROUPED.fullmatch(text):
        return float(text.replace(",", ""))
    return None


def split_number(token: str) -> tuple[str, str] | None:
    """Split "90g" into ("90", "g"); a token that starts with no digit gives None."""
    match = _DIGITS.fullmatch(token)
    return (match[1], match[2] or "") if match else None


def read_chinese(text: str) -> float | None:
    """Return the number that Chinese numerals write (四十, 两, 半), or None."""
    if text == "半":
        return 0.5
    total = section = digit = 0
    for char in text:
        if char in _CHINESE_DIGITS:
            digit = _CHINESE_DIGITS[char]
        elif char in _CHINESE_POWERS:
            section, digit = section + (digit or 1) * _CHINESE_POWERS[char], 0
        elif char == "万":
            total, section, digit = (total + section + digit) * 10_000, 0, 0
        else:
            return None
    return float(total + section + digit) if text else None


def decimals(text: str) -> int:
    """Return how many digits are written after the decimal point."""
    return len(text.partition(".")[2])


def quantity(amount: float, unit: str, written: str = "") -> Quantity:
    """Return ``amount`` of a unit; ``written`` is the number as text, for its precision."""
    dimension, system, factor = UNITS[unit]
    return Quantity(dimension, amount * factor, system, 0.5 * 10.0 ** -decimals(written) * factor)


def same(stated: Quantity, known: Quantity) -> bool:
    """Whether a text's quantity is the one that is known."""
    if stated.dimension != known.dimension:
        return False
    if stated.system == known.system:
        return math.isclose(stated.amount, known.amount, rel_tol=1e-9)
    apart = abs(stated.amount - known.amount)
    return apart <= stated.slack * (1 + 1e-9) and apart <= 0.01 * known.amount


#: How near "about" must be, as a share of the known amount.
ABOUT = 0.05


def holds(relation: str, stated: Quantity, known: Quantity) -> bool:
    """Whether the known quantity keeps a bound: ``lt`` for "under", ``ge`` for "at least", ..."""
    if stated.dimension != known.dimension:
        return False
    if relation == "near":
        return abs(stated.amount - known.amount) <= ABOUT * known.amount or same(stated, known)
    if relation == "lt":
        return known.amount < stated.amount and not same(stated, known)
    if relation == "gt":
        return known.amount > stated.amount and not same(stated, known)
    if relation == "le":
        return known.amount <= stated.amount or same(stated, known)
    if relation == "ge":
        return known.amount >= stated.amount or same(stated, known)
    return same(stated, known)
