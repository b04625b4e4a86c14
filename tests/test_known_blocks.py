"""The blocks on known answers and drift say what the results say, for either side."""

import known_blocks
import pytest


def run(network, seed, auroc, risk):
    rule = {"auroc": {"noise": auroc}, "risk_at_coverage": risk, "coverage": 0.94}
    about = {"data": "mnist", "network": network, "seed": seed, "accuracy": 0.98}
    return about | {"score and margin": rule, "max softmax": rule}


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ((0.9, 0.8), (0.7, 0.75), "MNIST: ffedge's rule is better at noise; neither is"),
        ((0.7, 0.75), (0.9, 0.8), "MNIST: backprop's max softmax is better at noise; neither is"),
        ((0.9, 0.7), (0.8, 0.8), "MNIST: neither is in every seed better at noise and errors among the most known."),
    ],
)
def test_a_rule_is_called_better_only_where_it_is_so_in_every_seed(ours, theirs, said):
    runs = [run("ffedge", i, value, 0.02) for i, value in enumerate(ours)]
    runs += [run("backprop", i, value, 0.02) for i, value in enumerate(theirs)]
    settings = {"data": ["mnist"], "seeds": [0, 1], "epochs": 3, "coverage": 0.95}
    text = known_blocks.rejection([{"settings": settings, "results": runs}])
    assert said in " ".join(text.split())
    assert f"| MNIST: **ffedge, score and margin** | {50 * sum(ours):.1f} | 2.00 | 2.00 | 94.0 |" in text


def test_delays_of_all_networks_are_put_together_and_false_alarms_counted():
    changes = [
        {"dark": {"accuracy": 0.5, "known": 0.25, "false_alarms": 1, "delays": [10, 30]}},
        {"dark": {"accuracy": 0.7, "known": 0.35, "false_alarms": 0, "delays": [20, None]}},
    ]
    settings = {"before": 1000, "window": 50, "seeds": [0, 1]}
    document = {"settings": settings, "results": [{"changes": each} for each in changes]}
    text = known_blocks.drift([document])
    assert "| dark | 60.0 % | 30.0 % | 20 [10, 30] | 3 of 4 |" in text
    assert "1 false alarm in 4,000 samples" in " ".join(text.split())
