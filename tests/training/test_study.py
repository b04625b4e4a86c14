"""What a comparison looks at and changes in a training, which no spec can say."""

import numpy as np
import pytest
from toys import clusters, small_spec

from ffedge.predict.evaluation import accuracy
from ffedge.predict.predictor import Predictor
from ffedge.training.run import train
from ffedge.training.study import Study

DATA = clusters(rows=200, noise=0.5, test_rows=80)
SPEC = small_spec(widths=(12, 10), variant="fcff", theta_placement="once", loss="logistic", theta=1.0, epochs=2)


def run(tmp_path, name, study=None):
    return train(SPEC, DATA, tmp_path / name, study=study)


def losses(run):
    return [layer.loss for layer in run.report.layers]


def test_accuracy_of_each_epoch_is_that_of_some_rows_it_trains_on(tmp_path):
    """None are held out: the last epoch's accuracy is what the finished model has on all of them."""
    plain, studied = run(tmp_path, "plain"), run(tmp_path, "studied", Study(measured_rows=10_000))
    assert plain.report.layers[1].accuracy_sum is None
    assert studied.report.layers[1].accuracy_sum == accuracy(Predictor(studied.model, threads=1), DATA.train)
    assert losses(studied) == losses(plain)
    few = run(tmp_path, "few", Study(measured_rows=4))
    assert few.report.layers[1].accuracy_sum * 4 in range(5)


def test_the_control_changes_what_is_learnt_where_layers_listen_to_each_other(tmp_path):
    plain, shuffled = run(tmp_path, "plain"), run(tmp_path, "shuffled", Study(shuffled=True))
    again = run(tmp_path, "again", Study(shuffled=True))
    assert np.not_equal(losses(shuffled), losses(plain)).all()
    assert again.model.read_bytes() == shuffled.model.read_bytes()


@pytest.mark.parametrize("epochs", [1, 15, 999, 1000])
def test_late_epochs_are_measured_more_rarely_and_the_last_one_always(epochs):
    measured = [epoch for epoch in range(epochs) if Study(measured_rows=1).measures(epoch, epochs)]
    assert measured[:20] == list(range(min(20, epochs)))
    assert measured[-1] == epochs - 1
    assert len(measured) <= 20 + 40 * 2
    assert not any(Study().measures(epoch, epochs) for epoch in range(epochs))
    for decade in (100, 200):
        assert 10 <= sum(decade <= epoch + 1 < 2 * decade for epoch in measured) <= 13 or epochs < 2 * decade
