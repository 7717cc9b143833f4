"""A folder of masks never passes a mask of one model for another's, whatever was stopped or left out."""

import numpy as np
import pytest
from tiny import files_in, make_dataset, tiny_model

from wsseg.batch import Wanted, predict_images
from wsseg.errors import InputError
from wsseg.images import list_images, read_labels
from wsseg.maskfolder import open_out, stale_in
from wsseg.predict import Predictor
from wsseg.steps import finish


def run(model, images, out, *, overwrite=False, **wanted):
    open_out(out, model, images, overwrite=overwrite)
    wanted = Wanted(overwrite=overwrite, **wanted)
    return finish(predict_images(Predictor(model, device="cpu"), images, out, wanted))


def another_model(dims):
    """A model that says otherwise: the weights of the last layers have the other sign."""
    model = tiny_model(dims)
    for parameter in model.net.parameters():
        parameter.data *= -1
    return model


@pytest.fixture
def images(tmp_path, dims):
    return list_images(make_dataset(tmp_path / "data", dims, 3) / "images")


def same_masks(images, one, other):
    def equal(path):
        return np.array_equal(*(read_labels(folder / path.name) for folder in (one, other)))

    return [stem for stem, path in images.items() if equal(path)]


def test_a_stopped_overwrite_is_gone_on_with(tmp_path, images, dims):
    out = tmp_path / "out"
    run(tiny_model(dims), images, out)
    model = another_model(dims)
    run(model, images, tmp_path / "right")
    assert not same_masks(images, out, tmp_path / "right")
    open_out(out, model, images, overwrite=True)
    steps = predict_images(Predictor(model, device="cpu"), images, out, Wanted(overwrite=True))
    next(step for step in steps if step.info["file"] == images["ball1"].name)
    steps.close()
    assert same_masks(images, out, tmp_path / "right") == ["ball0"]
    outcome = run(model, images, out)
    assert (outcome.skipped, outcome.done) == (["ball0"], ["ball1", "ball2"])
    assert same_masks(images, out, tmp_path / "right") == list(images)
    assert run(model, images, out).skipped == list(images)


def test_what_is_not_asked_for_again_is_not_taken_for_the_new_model_s(tmp_path, images, dims):
    out = tmp_path / "out"
    run(tiny_model(dims), images, out)
    run(another_model(dims), {"ball1": images["ball1"]}, out, overwrite=True)
    assert stale_in(out) == {"ball0", "ball2"}
    assert run(another_model(dims), images, out).done == ["ball0", "ball2"]
    assert stale_in(out) == set()


def test_what_lay_beside_a_mask_that_is_no_more_goes_with_it(tmp_path, images, dims):
    out = tmp_path / "out"
    run(tiny_model(dims), images, out, probabilities=True, instances=True)
    run(another_model(dims), images, out, overwrite=True, instances=True)
    assert not [name for name in files_in(out) if name.startswith("probabilities/")]
    assert len([name for name in files_in(out) if name.startswith("instances/")]) == 3
    assert run(another_model(dims), images, out, probabilities=True, instances=True).done == list(images)


def test_objects_cut_in_another_way_are_not_taken_for_done(tmp_path, images, dims):
    out, model = tmp_path / "out", tiny_model(dims)
    run(model, images, out)
    open_out(out, model, images, split=False)  # masks alone may get objects of either kind
    with pytest.raises(InputError, match=r": --split was not given and is; choose another --out"):
        open_out(out, model, images, split=True)
    open_out(out, model, images)  # without objects nothing is said of them, and nothing forgotten
    with pytest.raises(InputError, match="choose another --out"):
        open_out(out, model, images, split=True)
    open_out(out, model, images, split=True, min_score=0.99, overwrite=True)
    with pytest.raises(InputError, match=r": --split was given and is not, --min-score was 0.99 and is 0;"):
        open_out(out, model, images, split=False)
    told = r": --min-score was 0.99 and is 0.3; choose another --out, or the same value\.$"
    with pytest.raises(InputError, match=told):
        open_out(out, model, images, split=True, min_score=0.3)
