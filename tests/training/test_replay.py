"""Kept examples: how many of each class, how evenly over time, and the file that holds them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import clusters, prepared, small_spec

from ffedge.errors import DataError
from ffedge.tensors import write_tensors
from ffedge.training.replay import Reservoir, keep, no_examples, read_kept, write_kept

NONE = np.zeros(0, np.int64)


def stream(capacity, labels, classes, seed=0, block=64, old=NONE):
    """Offer labels in blocks; return the reservoir and which row stands in each place (-1: an old one)."""
    reservoir = Reservoir(capacity, old, np.zeros(classes, np.int64), np.random.default_rng(seed))
    rows = np.full(capacity, -1)
    for start in range(0, len(labels), block):
        places = reservoir.offer(labels[start : start + block])
        for row, place in enumerate(places):
            if place >= 0:
                rows[place] = start + row
    return reservoir, rows


@given(st.lists(st.integers(0, 4), max_size=300), st.integers(0, 40), st.integers(1, 50))
def test_places_hold_what_they_are_said_to_hold(labels, capacity, block):
    labels = np.array(labels, np.int64)
    reservoir, rows = stream(capacity, labels, 5, block=block)
    assert reservoir.count == min(capacity, len(labels))
    kept = rows[: reservoir.count]
    assert len(set(kept.tolist())) == len(kept)
    assert reservoir.labels[: reservoir.count].tolist() == labels[kept].tolist()
    assert reservoir.seen.tolist() == np.bincount(labels, minlength=5).tolist()


def test_a_rare_class_is_kept_whole_and_the_others_share_the_rest_evenly():
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 5000, p=[0.7, 0.2, 0.098, 0.002])
    reservoir, _ = stream(100, labels, 4)
    counts = np.bincount(reservoir.labels, minlength=4)
    assert counts[3] == (labels == 3).sum()
    assert counts[:3].max() - counts[:3].min() <= 2


def test_classes_that_come_one_after_the_other_end_with_the_same_room():
    reservoir, _ = stream(60, np.repeat(np.arange(6), 500), 6)
    assert np.bincount(reservoir.labels).tolist() == [10] * 6


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("block", [64, 1000])
def test_every_row_of_a_class_is_as_likely_to_be_kept(classes, block):
    """Of 1,000 rows 20 are kept, 600 times: each tenth of the stream gets its tenth."""
    hits = np.zeros(10)
    for seed in range(600):
        labels = np.random.default_rng([classes, seed]).integers(0, classes, 1000)
        _, rows = stream(20, labels, classes, seed, block)
        hits += np.bincount(rows // 100, minlength=10)
    assert hits.sum() == 12_000
    assert np.abs(hits / 1200 - 1).max() < 0.12  # 4 deviations


def facts_of(**changes):
    data = clusters(**changes)
    return prepared(small_spec(), data)[1], data


def offers(data, learnt, held=()):
    split = data.train
    return tuple((split, np.array(which, np.int64)) for which in (learnt, held))


def nothing(facts):
    return no_examples(facts), no_examples(facts)


@pytest.mark.parametrize("uint8", [False, True])
def test_a_file_of_examples_comes_back_as_it_was_written(tmp_path, uint8):
    facts, data = facts_of(uint8=uint8, inputs=20, border=True)
    split, path = data.train, tmp_path / "kept"
    keep(path, facts, nothing(facts), offers(data, range(40, 160), range(40)), 3000, 0)
    size = (1 if uint8 else 4) * 20 + 4
    assert [len(examples) for examples in read_kept(path, facts)] == [min(120, 2400 // size), min(40, 600 // size)]
    for found, start, stop in zip(read_kept(path, facts), (40, 0), (160, 40), strict=True):
        assert np.bincount(found.labels).max() - np.bincount(found.labels).min() <= 1
        rows = split.inputs.take(np.arange(start, stop))
        own = {row.tobytes(): label for row, label in zip(rows, split.labels[start:stop], strict=True)}
        assert [own[row.tobytes()] for row in found.rows.take(np.arange(len(found)))] == found.labels.tolist()
        assert found.seen.tolist() == np.bincount(split.labels[start:stop]).tolist()
    assert path.stat().st_size < 3000 + 1000


def test_old_examples_and_new_rows_share_the_room(tmp_path):
    facts, data = facts_of()
    path, size = tmp_path / "kept", 16 * 4 + 4
    keep(path, facts, nothing(facts), offers(data, range(80)), 40 * size, 0)
    before = read_kept(path, facts)
    old = {row.tobytes() for row in before[0].rows.take(np.arange(len(before[0])))}
    keep(path, facts, before, offers(data, range(80, 160)), 40 * size, 1)
    after, _ = read_kept(path, facts)
    again = sum(row.tobytes() in old for row in after.rows.take(np.arange(len(after))))
    assert len(after) == 40
    assert 8 <= again <= 32  # half of them, give and take
    assert after.seen.sum() == 160


def test_classes_are_known_by_name_and_others_left_out(tmp_path):
    facts, _ = facts_of()
    rows = np.arange(64, dtype=np.float32).reshape(4, 16)
    other = type(facts)(facts.shape, facts.dtype, ("class 3", "strange", "class 0"))
    nobody = rows[:0], NONE, np.array([1, 2, 3])
    write_kept(tmp_path / "kept", other, (rows, np.array([0, 1, 2, 0]), np.array([5, 6, 7])), nobody)
    found, check = read_kept(tmp_path / "kept", facts)
    assert found.labels.tolist() == [3, 0, 3]
    np.testing.assert_array_equal(found.rows.take(np.arange(3)), rows[[0, 2, 3]])
    assert found.seen.tolist() == [7, 0, 0, 5]
    assert (len(check), check.seen.tolist()) == (0, [3, 0, 0, 1])


@pytest.mark.parametrize(
    "change",
    [
        lambda t, a: t.pop("labels"),
        lambda t, a: t.update(rows=np.zeros((3, 15), np.float32)),
        lambda t, a: t.update(rows=np.zeros((3, 16), np.uint8)),
        lambda t, a: t.update(labels=np.array([0, 0.5, 1], np.float32)),
        lambda t, a: t.update(labels=np.array([0, 9, 1], np.float32)),
        lambda t, a: t.update(labels=np.array([0, np.nan, 1], np.float32)),
        lambda t, a: t.update(labels=np.zeros(4, np.float32)),
        lambda t, a: t.update({"check.rows": np.zeros((3, 15), np.float32)}),
        lambda t, a: a.update(seen="[1]"),
        lambda t, a: a.update(seen="[1, 1, 1, -1]"),
        lambda t, a: a.update(classes="{"),
        lambda t, a: a.update(classes="[[], 1, 2, 3]"),
        lambda t, a: a.pop("classes"),
        lambda t, a: a.pop("check.seen"),
    ],
)
def test_a_strangers_examples_are_refused_in_one_line(tmp_path, change):
    facts, _ = facts_of()
    tensors = {"rows": np.zeros((3, 16), np.float32), "labels": np.zeros(3, np.float32)}
    about = {"classes": json.dumps(list(facts.classes)), "seen": "[1, 1, 1, 1]", "check.seen": "[0, 0, 0, 0]"}
    change(tensors, about)
    write_tensors(tmp_path / "kept", tensors, about)
    with pytest.raises(DataError, match=r"kept: cannot be used \(.*\). Remove it, or pass `replay_from`"):
        read_kept(tmp_path / "kept", facts)


def test_bytes_of_a_torn_file_are_refused(tmp_path):
    facts, data = facts_of()
    path = tmp_path / "kept"
    keep(path, facts, nothing(facts), offers(data, range(40)), 9999, 0)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be used"):
        read_kept(path, facts)
