"""Class words in a caption: which classes a sentence says are there, with negation respected.

After NegEx (Chapman et al. 2001, "A simple algorithm for identifying negated findings and diseases in
discharge summaries"): a class word is negated where a negation stands before it, or behind it, in the
same clause and near. Differs from the paper in: the list of negations is short; commas do not end a clause,
because "no mass, cyst or nodule" goes on after them. English only.
"""

import re
from collections.abc import Iterable, Mapping

REACH = 6  # words between a negation and the class word it denies
_CLAUSE = re.compile(
    r"[.;:!?\n]+(?=\s|$)|\b(?:but|however|although|though|except|yet|whereas|while)\b", re.IGNORECASE
)
_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_BEFORE = re.compile(
    r"\b(?:no|not|without|w/o|never|none|neither|nor|cannot|absent|absence of|free of|free from|lacks?|"
    r"lacking|negative for|denies|denied|excludes?|rules? out|isn['’]t|aren['’]t|doesn['’]t|don['’]t)\b",
    re.IGNORECASE,
)
_BEHIND = re.compile(
    r"\b(?:(?:not|never|isn['’]t|aren['’]t|wasn['’]t|weren['’]t|cannot be|can['’]t be) (?:be |been |yet )?"
    r"(?:seen|visible|present|found|detected|identified|evident|observed|there)"
    r"|absent|excluded|ruled out|unlikely)\b",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"\bnot only\b|\bno (?:change|increase|decrease|difference) (?:in|of)\b", re.IGNORECASE
)


def classes_in(caption: str, words: Mapping[int, Iterable[str]]) -> frozenset[int]:
    """The classes that a caption says are there; one that is both denied and affirmed is there.

    A class's words are found as whole words, in any case, with or without a plural's "s" or "es"; of words
    that contain each other the longest counts ("skin lesion" is no "skin").

    Args:
        caption: Free text.
        words: Class id to its name and synonyms.
    """
    found: set[int] = set()
    pattern, owner = _pattern(words)
    for clause in _CLAUSE.split(caption):
        plain = _HARMLESS.sub(lambda match: " " * len(match.group()), clause)
        hits = list(pattern.finditer(clause))
        for hit in hits:
            if not _denied(plain, hit.start(), hit.end(), [other.start() for other in hits]):
                found |= owner[_plain(hit.group("word"))]
    return frozenset(found)


def _pattern(words: Mapping[int, Iterable[str]]) -> tuple[re.Pattern[str], dict[str, set[int]]]:
    """One pattern for all class words, the longest first, and whose each word is."""
    owner: dict[str, set[int]] = {}
    for class_id, own in words.items():
        for word in own:
            owner.setdefault(_plain(word), set()).add(class_id)
    longest_first = sorted(owner, key=len, reverse=True)
    either = "|".join(r"\s+".join(map(re.escape, word.split())) for word in longest_first)
    return re.compile(rf"(?<![\w-])(?P<word>{either})(?:e?s)?(?![\w-])", re.IGNORECASE), owner


def _plain(word: str) -> str:
    return " ".join(word.lower().split())


def _denied(clause: str, start: int, stop: int, starts: list[int]) -> bool:
    """Whether a negation is near before the word, or near behind it and before the next class word."""
    before = list(_BEFORE.finditer(clause, 0, start))
    if before and len(_WORD.findall(clause, before[-1].end(), start)) <= REACH:
        return True
    following = min((other for other in starts if other >= stop), default=len(clause))
    behind = _BEHIND.search(clause, stop, following)
    return behind is not None and len(_WORD.findall(clause, stop, behind.start())) <= REACH
