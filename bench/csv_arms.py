"""The arms of `csv_peers`, each in a process of its own: it reads a CSV, learns, and is tested on another one."""

import time
from pathlib import Path
from typing import Any

from ffedge.compare.child import serve
from ffedge.meter import PeakMeter, rss_bytes


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return what an arm reaches and takes."""
    arm = ffedge_arm if request["arm"] == "ffedge" else sklearn_arm
    return arm(**request)


def ffedge_arm(train: str, test: str, seed: int, folder: str, **_: Any) -> dict[str, Any]:
    """Train as ``ffedge train --data train.csv --label label`` does, with nothing set but seed and threads."""
    import ffedge
    from ffedge.data import load
    from ffedge.predict.evaluation import evaluate

    meter, imports, began = PeakMeter(), rss_bytes(), time.process_time()
    spec = ffedge.Spec.make(seed=seed, threads=1)
    run = ffedge.train(spec, train, Path(folder) / "run", label="label", progress=False)
    taken = {"cpu_s": time.process_time() - began, "peak_bytes": meter.peak(), "import_bytes": imports}
    predictor = ffedge.Predictor(run.model, 1)
    found = evaluate(predictor, load(test, one_class=True, label="label", table=predictor.facts.table))
    return taken | {"accuracy": found.accuracy, "balanced_accuracy": found.balanced_accuracy}


def sklearn_arm(arm: str, train: str, test: str, seed: int, **_: Any) -> dict[str, Any]:
    """Train MLPClassifier or HistGradientBoostingClassifier as it comes, on columns as pandas reads them."""
    import warnings

    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.metrics import accuracy_score, balanced_accuracy_score
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    warnings.simplefilter("ignore")  # that 200 epochs did not suffice
    meter, imports, began = PeakMeter(), rss_bytes(), time.process_time()
    rows = pandas.read_csv(train)
    labels = rows.pop("label")
    numbers = rows.select_dtypes("number").columns
    texts = [name for name in rows if name not in numbers]
    if arm == "mlp":
        net: Any = make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), list(numbers)),
                (OneHotEncoder(handle_unknown="ignore"), texts),
            ),
            MLPClassifier(random_state=seed),
        )
    else:
        rows = rows.astype(dict.fromkeys(texts, "category"))
        net = HistGradientBoostingClassifier(random_state=seed)
    net.fit(rows, labels)
    taken = {"cpu_s": time.process_time() - began, "peak_bytes": meter.peak(), "import_bytes": imports}
    unseen = pandas.read_csv(test)
    true = unseen.pop("label")
    found = net.predict(unseen.astype({name: rows[name].dtype for name in texts}))
    return taken | {
        "accuracy": float(accuracy_score(true, found)),
        "balanced_accuracy": float(balanced_accuracy_score(true, found)),
    }


if __name__ == "__main__":
    serve(answer)
