"""Distance to real music: closed forms, a second route, and what undefined features do."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from musiclib.baselines import markov_pieces, random_pieces, shuffled_pieces
from musiclib.comparison import (
    FEATURES,
    distance_of_drawn,
    distance_of_values,
    distance_to_real,
    dropped_features,
    feature_distances,
    feature_table,
    rank_key,
    say_dropped,
)
from musiclib.music_metrics import MEASURES, measures
from musiclib.roll_notes import Bars, roll_of


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
        pieces.append(roll_of(starts, keys, lengths, steps=steps))
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


def test_the_fast_route_agrees():
    ours, real = feature_table(tonal_pieces(8, seed=0)), feature_table(tonal_pieces(6, seed=1))
    fast = distance_of_values(ours.to_numpy(), real.to_numpy())
    assert fast == pytest.approx(distance_to_real(ours, real))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore:.*do not define every feature")
def test_a_drawn_set_has_the_distance_of_its_pieces(seed):
    """Ties, undefined features, and pieces drawn more than once or not at all."""
    rng = np.random.default_rng(seed)
    values, real = (rng.integers(0, 5, (n, len(FEATURES))).astype(float) for n in (9, 7))
    for array in (values, real):
        array[rng.random(array.shape) < 0.3] = np.nan
    distance = distance_of_drawn(values, real)
    for n in (1, 2, 9, 9, 9, 30):
        places = rng.integers(len(values), size=n)
        drawn, target = (pd.DataFrame(rows, columns=list(FEATURES)) for rows in (values, real))
        slow = distance_to_real(drawn.iloc[places], target)
        assert distance(places) == pytest.approx(slow, rel=1e-12, nan_ok=True)


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
    return [roll_of(starts, own, np.full(len(starts), 2), steps=steps) for own in keys]


def test_a_feature_that_real_music_does_not_define_is_dropped_and_named():
    real, ours = tunes(6, seed=0), tunes(4, seed=1)
    assert dropped_features(real) == ("consonant_share",)
    assert say_dropped(real).endswith("define it: consonant_share. 17 features are left.")
    assert say_dropped(tonal_pieces(3, seed=0)) == ""
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
    chords, one_note = tonal_pieces(4, seed=2), roll_of([0], [40], [4], steps=64)
    sets = [tunes(4, seed=1), [*chords, silent], [silent], [one_note] * 3, [silent, *tunes(1, 3)]]
    for reference in (real, tonal_pieces(5, seed=1), [*real, silent]):
        target = feature_table(reference)
        for pieces in sets:
            ours = feature_table(pieces)
            slow = distance_to_real(ours, target)
            fast = distance_of_values(ours.to_numpy(), target.to_numpy())
            assert fast == pytest.approx(slow, nan_ok=True)


def test_features_are_taken_in_the_pieces_own_bars():
    waltz = roll_of([0, 8, 12, 20, 24, 32, 36, 44], [40] * 8, [4] * 8, steps=48)
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
        distance_of_values(np.zeros((3, 2)), np.zeros((3, 18)))
    with pytest.raises(ValueError, match="reference must hold at least 2 pieces that define"):
        distance_of_values(np.zeros((3, 18)), np.full((3, 18), np.nan))
