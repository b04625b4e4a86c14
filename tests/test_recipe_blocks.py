"""The blocks of the recipe say what their results say."""

import recipe_blocks


def depth_run(arm, seed, accuracy):
    return {"data": "mnist", "arm": arm, "seed": seed, "accuracy": accuracy}


def document(settings, results):
    return {"benchmark": "depth", "settings": settings, "results": results}


def test_depths_gains_are_paired_by_seed_and_the_loss_is_against_the_best_depth():
    settings = {"data": ["mnist"], "arms": ["ffedge", "backprop"], "depths": [1, 2, 8], "seeds": [0, 1]}
    settings |= {"width": 500, "variant": "acff"}
    runs = [
        depth_run("ffedge", 1, {"1": 0.92, "2": 0.921, "8": 0.918}),
        depth_run("ffedge", 0, {"1": 0.90, "2": 0.905, "8": 0.904}),
        *(depth_run("backprop", s, {d: a}) for s in (0, 1) for d, a in {"1": 0.9, "2": 0.904, "8": 0.88}.items()),
    ]
    text = recipe_blocks.depth([document(settings, runs)])
    assert "| MNIST, **ffedge** | 91.00 | 91.30 | 91.10 |" in text
    assert "| MNIST, backprop, torch | 90.00 | 90.40 | 88.00 |" in text
    plain = " ".join(text.split())
    assert "ffedge gains +0.30 (+0.50 +0.10) and backprop gains +0.40 (+0.40 +0.40) points" in plain
    assert "8 layers of ffedge lie 0.20 below its best depth" in plain


def table_run(name, ours, theirs):
    side = {"ffedge": ours, "mlp": theirs}
    return {"table": name, **{k: {"balanced_accuracy": v, "accuracy": v + 0.01} for k, v in side.items()}}


def test_a_table_on_which_the_peer_is_ahead_is_named():
    settings = {"tables": ["a", "b"], "widths": "500,500", "seeds": [0]}
    runs = [table_run("a", 0.9, 0.915), table_run("b", 0.8, 0.83)]
    text = recipe_blocks.tables([document(settings, runs)])
    assert "| a | 90.0 (91.0) | 91.5 (92.5) | -1.5 |" in text
    assert "more than 2 points ahead on b." in text
    assert "nowhere more than 2 points ahead" in recipe_blocks.tables([document(settings | {"tables": ["a"]}, runs)])
