"""What a model file tells of its form may be anything: a form that cannot be made of it is refused in one line."""

import json

import pytest
from toys import changed, clusters, make_model, small_spec

from ffedge import Predictor
from ffedge.errors import ModelError

MODEL = make_model(small_spec(), clusters())[0]


@pytest.mark.parametrize(
    "form", ["pruned", "exact", "none such", 3, ["pruned"], {}, {"name": []}, {"name": "pruned"}, True]
)
def test_a_form_that_cannot_be_made_is_refused_in_one_line(form):
    with pytest.raises(ModelError) as error:
        Predictor(changed(MODEL, form=json.dumps(form)))
    assert "Export the model anew" in str(error.value)
    assert "\n" not in str(error.value)
