"""Distance to real music: closed forms, a second route, and what undefined features do.

Yang and Lerch's distances: by hand, and the shared grid.
Diversity within a set: by hand and by a plain loop.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde, norm, wasserstein_distance

from musiclib.distance import (
    FEATURES,
    Feature,
    density,
    describe_dropped,
    distance_to_real,
    diversity,
    diversity_ratio,
    dropped_features,
    feature_distances,
    feature_table,
    feature_vectors,
    hamming_distances,
    overlap,
    rank_key,
    resampled_distance,
    set_distances,
)
from musiclib.measures import MEASURES, measures
from musiclib.roll import Bars, draw_roll
from study.sets import markov_pieces, random_pieces, shuffled_pieces


def table(rows):
    """Return a feature table whose columns all hold these values."""
    return pd.DataFrame({name: np.array(rows, dtype=float) for name in FEATURES})


def tonal_pieces(n, seed, steps=64):
    """Return pieces in C: triads on the quarters, a passing note now and then."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(n):
        starts, keys, lengths = [], [], []
        for step in range(0, steps, 4):
            root = rng.choice([0, 5, 7, 9])
            third = 3 if root == 9 else 4
            passing = bool(rng.random() < 0.4)
            chord = [27 + root, 39 + root + third, 39 + root + 7]
            top = rng.choice([51, 53, 55, 56, 58])
            starts += [step] * 4 + [step + 2] * passing
            keys += [*chord, top, *[top + 1] * passing]
            lengths += [4, 4, 4, 2 if passing else 4] + [2] * passing
        pieces.append(draw_roll(starts, keys, lengths, steps=steps))
    return pieces


def test_there_are_eighteen_features_each_a_measure():
    assert len(FEATURES) == 18
    assert set(FEATURES) <= set(MEASURES)
    aspects = {feature.aspect for feature in FEATURES.values()}
    assert aspects == {
        "density", "pitch", "scale", "polyphony", "consonance", "chords", "voice leading", "rhythm"
    }  # fmt: skip


def test_feature_table_holds_the_measures():
    rolls = tonal_pieces(3, seed=0)
    frame = feature_table(rolls)
    assert list(frame.columns) == list(FEATURES)
    for row, roll in zip(frame.to_dict("records"), rolls, strict=True):
        every = measures(roll)
        assert row == pytest.approx({name: every[name] for name in FEATURES})


def test_equal_sets_have_no_distance():
    rolls = tonal_pieces(5, seed=0)
    assert distance_to_real(rolls, rolls) == 0.0


def test_a_shift_by_one_standard_deviation_is_one():
    real = np.array([10.0, 20.0, 30.0, 40.0])
    shifted = real + real.std()
    assert distance_to_real(table(shifted), table(real)) == pytest.approx(1.0)
    assert distance_to_real(table(real + 5), table(real)) == pytest.approx(5 / real.std())


def test_the_floor_stands_in_for_no_spread():
    distances = feature_distances(table([3.0, 3.0]), table([2.0, 2.0]))
    floors = pd.Series({name: feature.floor for name, feature in FEATURES.items()})
    assert distances["spread"].to_numpy() == pytest.approx(floors.to_numpy())
    assert distances["distance"].to_numpy() == pytest.approx(1 / floors.to_numpy())


def test_by_hand_on_pieces():
    pieces, real = tonal_pieces(4, seed=0), tonal_pieces(6, seed=1)
    row = feature_distances(pieces, real).loc["note_density"]
    ours, theirs = ([MEASURES["note_density"](r) for r in rolls] for rolls in (pieces, real))
    expected = wasserstein_distance(ours, theirs) / max(np.std(theirs), 0.1)
    assert row["distance"] == pytest.approx(expected)
    assert (row["n"], row["n_reference"]) == (4, 6)


def fast_distance(pieces, real):
    """Return the distance by the bootstrap's route, each piece drawn once."""
    return resampled_distance(pieces.to_numpy(), real.to_numpy())(np.arange(len(pieces)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore:.*do not define every feature")
def test_a_drawn_set_has_the_distance_of_its_pieces(seed):
    """Ties, undefined features, and pieces drawn more than once or not at all."""
    rng = np.random.default_rng(seed)
    values, real = (rng.integers(0, 5, (n, len(FEATURES))).astype(float) for n in (9, 7))
    for array in (values, real):
        array[rng.random(array.shape) < 0.3] = np.nan
    distance = resampled_distance(values, real)
    for n in (1, 2, 9, 9, 9, 30):
        places = rng.integers(len(values), size=n)
        drawn, target = (pd.DataFrame(rows, columns=list(FEATURES)) for rows in (values, real))
        slow = distance_to_real(drawn.iloc[places], target)
        assert distance(places) == pytest.approx(slow, rel=1e-12, nan_ok=True)


def test_other_features_are_compared_in_the_same_way():
    own = {"a": Feature("x", "y", 10.0), "b": Feature("x", "y", 0.0)}
    pieces = pd.DataFrame({"a": [3.0, 5.0], "b": [2.0, np.nan]})
    real = pd.DataFrame({"a": [0.0, 2.0], "b": [0.0, 2.0]})
    with pytest.warns(UserWarning, match="1 of 2 pieces"):
        found = feature_distances(pieces, real, own)["distance"]
    assert found.to_dict() == pytest.approx({"a": 0.3, "b": 1.0})
    distance = resampled_distance(pieces.to_numpy(), real.to_numpy(), own)
    assert distance(np.arange(2)) == pytest.approx(0.65)
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        resampled_distance(np.zeros((3, 18)), real.to_numpy(), own)
    with pytest.raises(ValueError, match=r"lacks the feature columns \['b'\]"):
        feature_distances(pieces[["a"]], real, own)


def test_what_knows_less_lies_further():
    train, real = tonal_pieces(30, seed=0), tonal_pieces(30, seed=1)
    rng = np.random.default_rng(2)
    makers = (markov_pieces, shuffled_pieces, random_pieces)
    baselines = [make(train, n=15, rng=rng, steps=64) for make in makers]
    distances = [distance_to_real(rolls, real) for rolls in (train, *baselines)]
    assert distances == sorted(distances)
    assert distances[0] < 0.4
    assert distances[-1] > 3


def test_undefined_features_are_counted_and_said():
    real = tonal_pieces(5, seed=1)
    pieces = [*tonal_pieces(3, seed=0), np.zeros((64, 88, 2), np.uint8)]
    with pytest.warns(UserWarning, match="1 of 4 pieces do not define every feature"):
        distances = feature_distances(pieces, real)
    assert distances.loc["polyphony", "n"] == 3
    assert distances.loc["note_density", "n"] == 4
    assert np.isfinite(distances["distance"]).all()


def test_a_set_of_silence_has_no_distance_and_ranks_last():
    with pytest.warns(UserWarning, match="2 of 2 pieces"):
        distance = distance_to_real(np.zeros((2, 64, 88, 2), np.uint8), tonal_pieces(3, seed=0))
    assert np.isnan(distance)
    assert np.isnan(sorted([distance, 3.0, 0.1], key=rank_key)[-1])
    rows = feature_table(np.zeros((2, 64, 88, 2), np.uint8))
    with pytest.warns(UserWarning, match="2 of 2 pieces"):
        found = feature_distances(rows, tonal_pieces(3, seed=0))
    assert (found.loc["polyphony", "n"], found.loc["note_density", "n"]) == (0, 2)
    assert np.isnan(found.loc["polyphony", "distance"])


def tunes(n, seed, steps=64):
    """Return pieces of one voice."""
    rng, starts = np.random.default_rng(seed), np.arange(0, steps, 2)
    keys = [39 + np.cumsum(rng.choice([-2, -1, 1, 2], len(starts))) for _ in range(n)]
    return [draw_roll(starts, own, np.full(len(starts), 2), steps=steps) for own in keys]


def test_a_feature_that_real_music_does_not_define_is_dropped_and_named():
    real, ours = tunes(6, seed=0), tunes(4, seed=1)
    assert dropped_features(real) == ("consonant_share",)
    assert describe_dropped(real).endswith("define it: consonant_share. 17 features are left.")
    assert describe_dropped(tonal_pieces(3, seed=0)) == ""
    found = feature_distances(ours, real)
    assert list(found.index) == [name for name in FEATURES if name != "consonant_share"]
    assert distance_to_real(ours, real) == pytest.approx(found["distance"].mean())
    chords = tonal_pieces(4, seed=2)  # they define it; it is dropped all the same
    assert np.isfinite(distance_to_real(chords, real))
    assert "consonant_share" not in feature_distances(chords, real).index


def test_one_real_piece_that_defines_a_feature_is_too_few():
    real = [*tunes(5, seed=0), tonal_pieces(1, seed=0)[0]]
    assert dropped_features(real) == ("consonant_share",)
    assert dropped_features([*real, tonal_pieces(1, seed=1)[0]]) == ()


@pytest.mark.filterwarnings("ignore:.*do not define every feature")
def test_both_routes_agree_on_what_is_undefined():
    real, silent = tunes(6, seed=0), np.zeros((64, 88, 2), np.uint8)
    chords, one_note = tonal_pieces(4, seed=2), draw_roll([0], [40], [4], steps=64)
    sets = [tunes(4, seed=1), [*chords, silent], [silent], [one_note] * 3, [silent, *tunes(1, 3)]]
    for reference in (real, tonal_pieces(5, seed=1), [*real, silent]):
        target = feature_table(reference)
        for pieces in sets:
            ours = feature_table(pieces)
            slow = distance_to_real(ours, target)
            assert fast_distance(ours, target) == pytest.approx(slow, nan_ok=True)


def test_features_are_taken_in_the_pieces_own_bars():
    waltz = draw_roll([0, 8, 12, 20, 24, 32, 36, 44], [40] * 8, [4] * 8, steps=48)
    frame = feature_table([waltz, waltz], [Bars(12), Bars()])
    assert frame["groove_consistency"][0] == 1.0
    assert frame["groove_consistency"][1] < 1.0
    with pytest.raises(ValueError, match="bars: got those of 1 pieces for 2 rolls"):
        feature_table([waltz, waltz], [Bars(12)])


def test_bad_input():
    real = tonal_pieces(3, seed=0)
    with pytest.raises(ValueError, match="pieces must hold at least one piece"):
        distance_to_real([], real)
    with pytest.raises(ValueError, match="reference must hold at least 2 pieces that define"):
        distance_to_real(real, real[:1])
    with pytest.raises(ValueError, match=r"rolls\[1\] must be uint8"):
        feature_table([real[0], np.zeros((4, 88))])
    with pytest.raises(ValueError, match=r"reference lacks the feature columns \['note_density'\]"):
        distance_to_real(table([1.0]), table([1.0, 2.0]).drop(columns="note_density"))
    with pytest.raises(ValueError, match=r"values must have shape \(n, 18\)"):
        resampled_distance(np.zeros((3, 2)), np.zeros((3, 18)))
    with pytest.raises(ValueError, match="reference must hold at least 2 pieces that define"):
        resampled_distance(np.zeros((3, 18)), np.full((3, 18), np.nan))


C4 = 60 - 21


def vector(name, roll):
    """Return one feature of one roll."""
    return feature_vectors([roll])[name][0]


@pytest.fixture
def roll():
    """Return a melody C D E over a held low C."""
    return draw_roll([0, 0, 4, 6], [C4 - 12, C4, C4 + 2, C4 + 4], [8, 4, 2, 2], steps=8)


def test_scalars_by_hand(roll):
    assert vector("pitch_count", roll).tolist() == [4]
    assert vector("note_count", roll).tolist() == [4]
    assert vector("pitch_range", roll).tolist() == [16]
    assert vector("pitch_interval", roll).tolist() == [2]
    assert vector("onset_interval", roll).tolist() == [0.75]


def test_histograms_by_hand(roll):
    assert vector("pitch_class_histogram", roll)[[0, 2, 4]].tolist() == [0.5, 0.25, 0.25]
    lengths = vector("note_length_histogram", roll)  # classes 1 2 3 4 6 8 12 16
    assert lengths.tolist() == [0, 0.5, 0, 0.25, 0, 0.25, 0, 0]


def test_transitions_are_those_of_the_top_line(roll):
    classes = vector("pitch_class_transitions", roll).reshape(12, 12)
    assert (classes[0, 2], classes[2, 4], classes.sum()) == (0.5, 0.5, 1.0)
    lengths = vector("note_length_transitions", roll).reshape(8, 8)
    assert (lengths[3, 1], lengths[1, 1], lengths.sum()) == (0.5, 0.5, 1.0)


def test_a_length_between_two_classes_counts_to_the_nearest():
    roll = draw_roll([0, 8, 24], [40, 41, 42], [5, 7, 30], steps=60)
    assert np.flatnonzero(vector("note_length_histogram", roll)).tolist() == [4, 5, 7]


def test_a_silent_piece():
    found = feature_vectors([np.zeros((16, 88, 2), np.uint8)])
    assert len(found) == 9
    counts = [found.pop(name)[0].tolist() for name in ("pitch_count", "note_count")]
    assert counts == [[0], [0]]
    assert all(np.isnan(vectors).all() for vectors in found.values())


def test_the_same_sample_overlaps_wholly():
    sample = np.random.default_rng(0).normal(size=50)
    assert overlap(sample, sample) == pytest.approx((1.0, 0.0))


def test_samples_far_apart_do_not_overlap():
    sample = np.random.default_rng(0).normal(size=50)
    found = overlap(sample, sample + 100)
    assert found.area == pytest.approx(0.0, abs=1e-3)
    assert found.kld > 10


def test_two_normal_densities_by_closed_form():
    quantiles = norm.ppf((np.arange(4000) + 0.5) / 4000)
    found = overlap(quantiles, quantiles + 1)
    assert found.area == pytest.approx(2 * norm.cdf(-0.5), abs=0.02)
    assert found.kld == pytest.approx(0.5, abs=0.04)  # (difference of means)^2 / 2


@pytest.mark.parametrize("sample", [[0.0, 1.0], [3.0, 3.0, 4.0, 9.0], np.arange(500) % 7])
def test_the_density_is_scipys(sample):
    kernel = gaussian_kde(sample)
    width, grid = float(np.sqrt(kernel.covariance[0, 0])), np.linspace(-30, 40, 200)
    found = density(np.sort(sample), grid, width=width)
    assert found == pytest.approx(kernel(grid), rel=1e-12, abs=1e-20)


def test_a_shift_is_seen_where_two_grids_would_hide_it():
    sample = np.random.default_rng(0).gamma(2.0, size=200)
    assert overlap(sample, sample + 3).kld > 1.0


@pytest.mark.parametrize("sample", [[1.0], [2.0, 2.0, 2.0], []])
def test_no_density_without_two_values(sample):
    assert np.isnan(overlap(np.array(sample), np.array([1.0, 2.0, 3.0]))).all()


def rhythm(n_notes):
    """Return a roll of so many notes, all on one key."""
    return draw_roll(np.arange(n_notes), [40] * n_notes, [1] * n_notes, steps=16)


def test_distances_by_hand():
    found = set_distances([rhythm(2), rhythm(4)], [rhythm(3), rhythm(5), rhythm(9)])
    row = found.loc["note_count"]
    assert row["intra"] == 2.0
    assert row["intra_reference"] == pytest.approx((2 + 6 + 4) / 3)
    assert row["inter"] == pytest.approx((1 + 3 + 7 + 1 + 1 + 5) / 6)
    assert (row["n"], row["n_reference"]) == (2, 3)
    assert np.isnan(row["overlap_own"])  # one distance alone has no density
    assert 0 < row["overlap"] < 1


def test_vectors_serve_as_well_as_rolls():
    ours, real = [rhythm(k) for k in (2, 3, 5)], [rhythm(k) for k in (4, 6, 7)]
    again = set_distances(feature_vectors(ours), feature_vectors(real))
    assert set_distances(ours, real).equals(again)


def test_pieces_that_lack_a_feature_are_skipped_and_counted():
    silent = np.zeros((16, 88, 2), np.uint8)
    found = set_distances([rhythm(4), silent], [rhythm(3), rhythm(5)])
    assert found.loc["note_count", "n"] == 2
    assert found.loc["pitch_range", "n"] == 1
    assert np.isnan(found.loc["pitch_range", "intra"])


def test_bad_rolls_have_no_vectors():
    with pytest.raises(ValueError, match="rolls must hold at least one piece"):
        feature_vectors([])
    with pytest.raises(ValueError, match=r"rolls\[0\] must be uint8"):
        feature_vectors([np.zeros((3, 88))])


def pieces(n, *, seed=0, steps=8):
    """Return random rolls."""
    rng = np.random.default_rng(seed)
    return [
        draw_roll(rng.integers(0, steps, 9), rng.integers(30, 50, 9), [2] * 9, steps=steps)
        for _ in range(n)
    ]


THREE = [
    draw_roll([0], [40], [4], steps=8),
    draw_roll([0], [40], [2], steps=8),
    draw_roll([0, 1], [40, 40], [1, 3], steps=8),
]


def test_hamming_distance_counts_cells_that_differ():
    assert hamming_distances(THREE).tolist() == [[0, 2, 1], [2, 0, 3], [1, 3, 0]]


def test_hamming_distance_by_a_plain_loop():
    rolls = pieces(5)
    distances = hamming_distances(rolls)
    for i, j in itertools.product(range(5), repeat=2):
        assert distances[i, j] == (rolls[i] != rolls[j]).sum()


def test_diversity_by_hand():
    assert diversity(THREE) == pytest.approx((4 / 3, 2.0, 3))


def test_the_expected_nearest_distance_of_smaller_sets_is_exact():
    rolls = pieces(6)
    for size in (2, 3, 5):
        subsets = itertools.combinations(rolls, size)
        expected = np.mean([diversity(subset).nearest for subset in subsets])
        found = diversity(rolls, size=size)
        assert found.nearest == pytest.approx(expected)
        assert found.pairwise == pytest.approx(diversity(rolls).pairwise)


def test_ratio_of_equal_and_of_collapsed_sets():
    real = pieces(6)
    assert diversity_ratio(real, real) == pytest.approx((1.0, 1.0, 6))
    assert diversity_ratio([real[0]] * 9, real) == (0.0, 0.0, 6)


def test_the_ratio_does_not_depend_on_how_many_pieces_there_are():
    real = pieces(40)
    few, many = (
        diversity_ratio(pieces(40, seed=1), real),
        diversity_ratio(pieces(160, seed=2), real),
    )
    assert few.nearest == pytest.approx(many.nearest, rel=0.05)
    assert diversity(pieces(160, seed=2)).nearest < 0.97 * diversity(real).nearest


def test_one_piece_has_no_diversity():
    alone = diversity(pieces(1))
    assert np.isnan(alone[:2]).all()
    assert alone.n == 1
    assert np.isnan(diversity_ratio(pieces(1), pieces(3)).nearest)


def test_bad_sets_have_no_diversity():
    with pytest.raises(ValueError, match=r"one length; got lengths \[\]"):
        diversity([])
    with pytest.raises(ValueError, match=r"one length; got lengths \[8, 9\]"):
        diversity([*pieces(2), *pieces(1, steps=9)])
    with pytest.raises(ValueError, match="size must lie in 2 to 3"):
        diversity(pieces(3), size=4)
    with pytest.raises(ValueError, match="got 8 and 9 steps"):
        diversity_ratio(pieces(2), pieces(2, steps=9))
    with pytest.raises(ValueError, match="reference must hold different pieces"):
        diversity_ratio(pieces(3), [pieces(1)[0]] * 3)
