"""Captions against sentences whose meaning is plain to any reader."""

import pytest

from wsseg.captions import classes_in

WORDS = {1: ("lesion", "mass"), 2: ("nodule",), 3: ("skin lesion",), 4: ("Ödem", "oedema")}


@pytest.mark.parametrize(
    ("caption", "classes"),
    [
        ("A lesion in the left lobe.", {1}),
        ("Two LESIONS and a nodule", {1, 2}),
        ("masses on both sides", {1}),
        ("the lesional border", set()),
        ("a non-lesion area", set()),
        ("a skin  lesion", {3}),
        ("a skin lesion and another lesion", {1, 3}),
        ("Ödem links", {4}),
        ("ödem links", {4}),
        ("", set()),
    ],
)
def test_whole_words_in_any_case_and_the_longest_first(caption, classes):
    assert classes_in(caption, WORDS) == classes


@pytest.mark.parametrize(
    ("caption", "classes"),
    [
        ("no lesion", set()),
        ("No evidence of any lesion.", set()),
        ("no mass, nodule or oedema", set()),
        ("without nodule", set()),
        ("free of lesions", set()),
        ("The nodule is absent.", set()),
        ("a lesion was not seen", set()),
        ("lesion ruled out, nodule present", {2}),
        ("lesion present, nodule not visible", {1}),
        ("no lesion but a nodule", {2}),
        ("No lesion. Nodule in the left lobe.", {2}),
        ("no lesion; nodule", {2}),
        ("not only a lesion but also a nodule", {1, 2}),
        ("no change in the lesion", {1}),
        ("lesion, not large", {1}),
        ("no lesion on the left; a lesion on the right", {1}),
        ("no smoker since long ago and with a family and a lesion", {1}),
        ("neither lesion nor nodule", set()),
    ],
)
def test_negation_in_the_clause_before_and_behind(caption, classes):
    assert classes_in(caption, WORDS) == classes
