"""classes.json, clicks.csv, tags.csv: what they mean, and mistakes told with their line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.errors import InputError
from wsseg.hints import Click, Tag
from wsseg.tables import Known, read_classes, read_clicks, read_synonyms, read_tags

SHAPES = {"flat": (10, 20), "deep": (4, 10, 20), "scan.001": (4, 10, 20)}
CLASSES = {1: "nucleus", 2: "wall"}


def known(classes=CLASSES):
    return Known(frozenset(SHAPES), SHAPES.__getitem__, classes)


def table(tmp_path, text, name="table.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_classes(tmp_path):
    path = table(tmp_path, '{"12": "b", "2": "ä"}', "classes.json")
    assert list(read_classes(path).items()) == [(2, "ä"), (12, "b")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"1": "a",}', "line 1 is not JSON"),
        ("[1, 2]", "holds no classes"),
        ("{}", "holds no classes"),
        ('{"nucleus": 1}', "the key “nucleus” is no class id from 1 to 254"),
        ('{"0": "background"}', "the key “0” is no class id"),
        ('{"255": "a"}', "the key “255” is no class id"),
        ('{"1": 5}', "class 1 has no name but 5"),
        ('{"1": " "}', "class 1 has no name"),
        ('{"1": "a", "2": "a"}', "two classes are called “a”"),
        ('{"1": "a", "01": "b"}', "class 1 stands there twice"),
    ],
)
def test_classes_with_a_mistake(tmp_path, content, reason):
    with pytest.raises(InputError, match=rf"classes\.json: .*{reason}"):
        read_classes(table(tmp_path, content, "classes.json"))


def test_clicks_by_stem_or_file_name_and_by_id_or_name(tmp_path):
    path = table(
        tmp_path,
        "image,class,axis-0,axis-1,axis-2\n"
        "flat,1,2.5,3,\n"
        "flat.png, wall ,0,19.4,\n"
        "images/deep.nii.gz,0,1,2,3\n"
        "\n"
        "scan.001,2,-0.5,0,0\n",
    )
    assert read_clicks(path, known()) == {
        "flat": (Click((2.5, 3.0), 1), Click((0.0, 19.4), 2)),
        "deep": (Click((1.0, 2.0, 3.0), 0),),
        "scan.001": (Click((-0.5, 0.0, 0.0), 2),),
    }


def test_a_points_table_of_napari(tmp_path):
    with_image = table(tmp_path, "index,axis-0,axis-1,image,class\n0.0,2.5,3.0,flat,nucleus\n")
    assert read_clicks(with_image, known()) == {"flat": (Click((2.5, 3.0), 1),)}
    saved = table(tmp_path, "\ufeffindex,axis-0,axis-1,axis-2\r\n0,1,2,3\r\n1,3,2,1\r\n", "b.csv")
    wanted = {"deep": (Click((1.0, 2.0, 3.0), 7), Click((3.0, 2.0, 1.0), 7))}
    assert read_clicks(saved, known({7: "only"}), stem="deep") == wanted
    assert read_clicks(saved, known(None), stem="deep")["deep"][0].class_id == 1
    with pytest.raises(InputError, match=r"b\.csv: has no column “class” but there are 2"):
        read_clicks(saved, known(), stem="deep")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image;class;axis-0;axis-1\n", "line 1 lacks the column “image”"),
        ("", "line 1 lacks the column “image”"),
        ("image,class,axis-0\nflat,1,2\n", "line 1 lacks the column “axis-1”"),
        ("image,class,axis-0,axis-1\nflat,1,2\n", "line 2: has not 4 columns"),
        ("image,class,axis-0,axis-1\nflat,1,2,3\nflat,1,2,3,4\n", "line 3: has not 4 columns"),
        ("image,class,axis-0,axis-1\nother,1,2,3\n", "line 2: there is no image “other”"),
        ("image,class,axis-0,axis-1\nflat,cell,2,3\n", "line 2: there is no class “cell”; known are 1 .nucl"),
        ("image,class,axis-0,axis-1\nflat,3,2,3\n", "line 2: there is no class “3”; known are 1 .nucleus"),
        ("image,class,axis-0,axis-1\nflat,,2,3\n", "line 2: there is no class “”"),
        ("image,class,axis-0,axis-1\nflat,1,2,x\n", "line 2: “x” is no number"),
        ("image,class,axis-0,axis-1\nflat,1,2,nan\n", "line 2: “nan” is no number"),
        ("image,class,axis-0,axis-1\n\nflat,1,2,20\n", r"line 3: the click at \(2\.0, 20\.0\) lies outside"),
        ("image,class,axis-0,axis-1\nflat,1,-0.6,2\n", "lies outside of flat, of shape"),
        ("image,class,axis-0,axis-1\ndeep,1,2,3\n", "lies outside of deep"),
        ("image,class,axis-0,axis-1,axis-2\nflat,1,2,3,4\n", "lies outside of flat"),
        ('image,class,axis-0,axis-1\n"flat,1,2,3\n', "can't be read as a CSV table"),
    ],
)
def test_clicks_with_a_mistake(tmp_path, text, reason):
    with pytest.raises(InputError, match=rf"table\.csv.*{reason}"):
        read_clicks(table(tmp_path, text), known())


def test_a_table_in_another_encoding(tmp_path):
    (tmp_path / "a.csv").write_bytes("image,class,axis-0,axis-1\nflät,1,2,3\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.csv: can't be read as a CSV table in UTF-8"):
        read_clicks(tmp_path / "a.csv", known())


def test_tags_of_images_and_slices(tmp_path):
    path = table(
        tmp_path,
        "image,class,axis,slice\nflat,nucleus,,\nflat,2,,\nscan.001,,,\ndeep,wall,0,3\ndeep,,1,9\n",
    )
    assert read_tags(path, known()) == {
        "flat": {Tag(1), Tag(2)},
        "scan.001": frozenset(),
        "deep": {Tag(2, 0, 3), Tag(0, 1, 9)},
    }
    short = table(tmp_path, "image,class\nflat,\ndeep,5\n", "short.csv")
    assert read_tags(short, known(None)) == {"flat": frozenset(), "deep": {Tag(5)}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image\nflat\n", "line 1 lacks the column “class”"),
        ("image,class\nflat,0\n", "line 2: there is no class “0”"),
        ("image,class\nflat,1\nflat,roof\n", "line 3: there is no class “roof”"),
        ("image,class,axis,slice\ndeep,1,0,\n", "line 2: axis and slice belong together"),
        ("image,class,axis,slice\ndeep,1,z,3\n", "line 2: the axis “z” is no whole number"),
        ("image,class,axis,slice\ndeep,1,0,4\n", "line 2: there is no slice 4 along axis 0 of deep"),
        ("image,class,axis,slice\nflat,1,2,0\n", "line 2: there is no slice 0 along axis 2 of flat"),
    ],
)
def test_tags_with_a_mistake(tmp_path, text, reason):
    with pytest.raises(InputError, match=rf"table\.csv.*{reason}"):
        read_tags(table(tmp_path, text), known())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image,class\nflat,\nflat,2\n", "line 3: flat has a class here, and no class in line 2"),
        ("image,class\nflat,2\nflat,\n", "line 3: flat has no class here, and a class in line 2"),
        (
            "image,class,axis,slice\ndeep,,0,3\ndeep,2,0,3\n",
            "line 3: slice 3 along axis 0 of deep has a class here, and no class in line 2",
        ),
    ],
)
def test_an_image_with_a_class_and_with_none(tmp_path, text, reason):
    with pytest.raises(InputError, match=rf"table\.csv.*{reason}"):
        read_tags(table(tmp_path, text), known())


def test_captions_become_tags(tmp_path):
    path = table(
        tmp_path,
        "image,caption,axis,slice\nflat,a wall of cells,,\nscan.001,no nucleus,,\ndeep,,,\n"
        'deep,"nuclei, no wall",0,3\ndeep,nothing,0,1\n',
    )
    words = {1: ("nucleus", "nuclei"), 2: ("wall",)}
    assert read_tags(path, known(), words) == {
        "flat": {Tag(2)},
        "scan.001": frozenset(),
        "deep": {Tag(1, 0, 3), Tag(0, 0, 1)},
    }
    with pytest.raises(InputError, match=r"captions need names of classes; classes\.json"):
        read_tags(path, known(None), None)
    with pytest.raises(InputError, match=r"no caption names a class; the words looked for are roof: add"):
        read_tags(path, known(), {1: ("roof",)})


def test_synonyms(tmp_path):
    path = table(tmp_path, '{"2": "wall", "1": ["nucleus", "nuclei"]}', "classes.json")
    assert read_synonyms(path) == {1: ("nucleus", "nuclei"), 2: ("wall",)}
    assert read_classes(path) == {1: "nucleus", 2: "wall"}
    for content in ('{"1": []}', '{"1": ["a", ""]}', '{"1": ["a", "b"], "2": "b"}'):
        with pytest.raises(InputError, match="is right"):
            read_synonyms(table(tmp_path, content, "classes.json"))


def test_a_name_without_classes_is_told_what_is_right(tmp_path):
    path = table(tmp_path, "image,class\nflat,nucleus\n")
    with pytest.raises(InputError, match=r"an id from 1 to 254 is right, or a name that classes\.json"):
        read_tags(path, known(None))


@settings(max_examples=40, deadline=None)
@given(
    clicks=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 2]),
            st.tuples(*[st.floats(-0.5, n - 0.6, allow_nan=False) for n in SHAPES["deep"]]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_click_comes_back(tmp_path_factory, clicks):
    lines = [f"deep,{number},{','.join(map(repr, place))}" for number, place in clicks]
    text = "\n".join(["image,class,axis-0,axis-1,axis-2", *lines])
    path = table(tmp_path_factory.mktemp("clicks"), text)
    assert read_clicks(path, known()) == {"deep": tuple(Click(place, number) for number, place in clicks)}


@settings(max_examples=20, deadline=None)
@given(classes=st.dictionaries(st.integers(1, 254), st.text(min_size=1).filter(str.strip), min_size=1))
def test_any_classes_come_back(tmp_path_factory, classes):
    classes = {k: name for k, name in classes.items() if list(classes.values()).count(name) == 1}
    if classes:
        path = table(tmp_path_factory.mktemp("classes"), json.dumps(classes), "classes.json")
        assert read_classes(path) == classes
