"""Labels look ahead and features do not; folds are purged; what is learned is what the library learned; chances come true."""

import numpy as np
import pytest

from tickmesh.nodes.models.learned import chance_of
from tickmesh.research.learning.calibration import brier, isotonic, judged, log_loss
from tickmesh.research.learning.learners import fit, flattened
from tickmesh.research.learning.samples import DOWN, NEITHER, UP, Samples, labelled
from tickmesh.research.learning.training import LearningTerms, train
from tickmesh.research.learning.walk_forward import folds_of

SECOND_NS = 1_000_000_000


def made(count: int, seed: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """(values, labels) of which the second feature says something; some are not known."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, 3)) * (1.0, 5.0, 0.0)
    labels = (rng.random(count) < 1 / (1 + np.exp(-strength * values[:, 1] / 5))).astype("i8")
    values[rng.random((count, 3)) < 0.1] = np.nan
    return values, labels


def samples_of(values: np.ndarray, labels: np.ndarray, horizon_s: int = 5) -> Samples:
    at_ns = np.arange(len(labels)) * SECOND_NS
    return Samples(("mid", "ofi", "vpin"), at_ns, values, labels.astype("i1"), horizon_s * SECOND_NS)


def test_a_label_is_the_move_beyond_the_costs_exactly_a_horizon_later():
    at_ns = np.array([0, 1, 2, 3, 5, 6])
    mids = np.array([100.0, 100.0, 101.0, 99.0, np.nan, 99.4])
    spreads = np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    assert labelled(at_ns, mids, spreads, 1, 1.0).tolist() == [NEITHER, NEITHER, DOWN, NEITHER, NEITHER, NEITHER]
    assert labelled(at_ns, mids, spreads, 1, 0.9).tolist() == [NEITHER, UP, DOWN, NEITHER, NEITHER, NEITHER], "1 > 0.9·2÷2"
    assert labelled(at_ns, mids, spreads, 3, 0.5).tolist() == [DOWN, NEITHER, NEITHER, UP, NEITHER, NEITHER]
    assert labelled(at_ns[:0], mids[:0], spreads[:0], 3, 0.5).tolist() == []


@pytest.mark.parametrize("embargo_ns", [0, 7_000])
def test_nothing_is_trained_on_whose_label_was_not_known_long_enough_before_the_test(embargo_ns):
    rng = np.random.default_rng(5)
    at_ns = np.cumsum(rng.choice([1, 10, 3_000], 400))
    horizon_ns, judged_once = 5_000, []
    for fold in folds_of(at_ns, horizon_ns, 6, embargo_ns):
        begin_ns = at_ns[fold.test[0]]
        assert (at_ns[fold.train] + horizon_ns + embargo_ns < begin_ns).all() and len(fold.train) > 20
        left_out = np.setdiff1d(np.arange(fold.test[0]), fold.train)
        assert len(left_out) and (at_ns[left_out] + horizon_ns + embargo_ns >= begin_ns).all(), "and all else before it is"
        judged_once += fold.test.tolist()
    assert judged_once == list(range(judged_once[0], 400))
    with pytest.raises(ValueError, match="horizon and embargo leave 0 moments to train on"):
        next(folds_of(at_ns, int(at_ns[-1]), 6, 0))
    with pytest.raises(ValueError, match="20 moments with a label are too few for 2 folds"):
        next(folds_of(at_ns[:20], 1, 2, 0))


def test_flat_trees_give_the_scores_of_the_library_to_the_last_bit():
    ensemble = pytest.importorskip("sklearn.ensemble")
    values, labels = made(1500, 3, 2.0)
    model = ensemble.HistGradientBoostingClassifier(max_iter=25, max_leaf_nodes=8, early_stopping=False, random_state=1)
    with pytest.importorskip("threadpoolctl").threadpool_limits(1):
        model.fit(values, labels)
    unseen = np.random.default_rng(4).normal(size=(4000, 3)) * 8
    unseen[::7, 1], unseen[1::7, 1], unseen[2::7, 0] = np.nan, np.inf, -np.inf
    unseen[3::7] = values[:571]  # and thresholds' own neighbourhood
    learned = flattened(model, 3)
    assert learned.scores(unseen).tobytes() == model.decision_function(unseen).tobytes()
    assert len(np.unique(learned.scores(unseen))) > 50


def test_the_online_line_finds_what_there_is_and_is_the_same_each_time():
    values, labels = made(6000, 1, 1.5)
    learned = fit("logistic", values, labels, 1)
    mean, scale, weight = learned.linear[1]
    assert 0.9 < weight < 2.0 and abs(learned.linear[0, 2]) < 0.2, "1.5 and 0"
    assert learned.linear[2, 2] == 0.0, "what never changes says nothing"
    assert scale == pytest.approx(np.nanstd(values[:, 1])) and mean == pytest.approx(np.nanmean(values[:, 1]))
    assert all(np.array_equal(a, b) for a, b in zip(learned, fit("logistic", values, labels, 1)))
    unknown = np.full((1, 3), np.nan)
    assert learned.scores(unknown)[0] == learned.bias
    with pytest.raises(ValueError, match="all 6000 labels are the same"):
        fit("logistic", values, np.ones(6000, "i8"), 1)


def test_a_chance_is_what_the_calibration_of_the_library_says():
    library = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(2)
    scores = np.round(rng.normal(size=800), 2)
    labels = (rng.random(800) < 1 / (1 + np.exp(-scores))).astype("i8")
    curve = isotonic(scores, labels)
    theirs = library.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, labels)
    asked = np.concatenate([np.linspace(-5, 5, 501), scores])
    ours = np.array([chance_of(score, curve) for score in asked])
    assert np.allclose(ours, theirs.predict(asked), rtol=0, atol=1e-12) and ours.std() > 0


def test_chances_are_judged_by_what_came():
    rng = np.random.default_rng(6)
    chances = rng.random(20_000)
    labels = (rng.random(20_000) < chances).astype("i8")
    found = judged(chances, labels, np.full(20_000, 0.5))
    assert all(abs(chance - came) < 0.04 and count == 2000 for chance, came, count in found.reliability)
    assert found.brier == pytest.approx(1 / 6, abs=0.005) and found.usual_brier == pytest.approx(0.25)
    assert found.log_loss < found.usual_log_loss == pytest.approx(np.log(2))
    assert log_loss(np.array([0.0]), np.array([1])) < 14 and brier(np.array([1.0]), np.array([1])) == 0.0


def test_no_chance_depends_on_a_label_that_was_not_known_when_it_was_given():
    """Labels of the last stretch, and those unknown when it began, are others: what was said stays, what came does not."""
    pytest.importorskip("sklearn")
    values, labels = made(1500, 8, 1.0)
    others = np.where(np.arange(1500) >= 1500 - 375 - 5, 1 - labels, labels)
    one, other = (train(samples_of(values, own), LearningTerms("logistic", folds=3)).judgement for own in (labels, others))
    assert [chance for chance, *_ in one.reliability] == [chance for chance, *_ in other.reliability]
    assert [came for _, came, _ in one.reliability] != [came for _, came, _ in other.reliability]


@pytest.mark.parametrize("learner", ["boosted", "logistic"])
def test_what_says_something_is_found_and_noise_is_not(learner):
    pytest.importorskip("sklearn")
    terms = LearningTerms(learner, folds=3, seed=2)
    values, labels = made(1500, 8, 2.5)
    found = train(samples_of(values, labels), terms)
    assert found.judgement.brier < found.judgement.usual_brier - 0.02 and found.purged == [5, 5, 5]
    assert found.judgement.moments == 1125 and found.weights.facts["decided"] == 1500
    noise = np.random.default_rng(9).integers(0, 2, 1500)
    nothing = train(samples_of(values, noise), terms)
    assert nothing.judgement.brier > nothing.judgement.usual_brier - 0.005, "what is judged was not seen in training"
