"""Yang and Lerch's distances: by hand, and the shared grid."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde, norm

from musiclib.roll_notes import roll_of
from musiclib.set_distances import VECTORS, density, feature_vectors, overlap, set_distances

C4 = 60 - 21


def vector(name, roll):
    """Return one feature of one roll."""
    return feature_vectors([roll])[name][0]


@pytest.fixture
def roll():
    """Return a melody C D E over a held low C."""
    return roll_of([0, 0, 4, 6], [C4 - 12, C4, C4 + 2, C4 + 4], [8, 4, 2, 2], steps=8)


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
    roll = roll_of([0, 8, 24], [40, 41, 42], [5, 7, 30], steps=60)
    assert np.flatnonzero(vector("note_length_histogram", roll)).tolist() == [4, 5, 7]


@pytest.mark.parametrize("name", VECTORS)
def test_a_silent_piece(name):
    found = vector(name, np.zeros((16, 88, 2), np.uint8))
    if name in ("pitch_count", "note_count"):
        assert found.tolist() == [0]
    else:
        assert np.isnan(found).all()


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
    return roll_of(np.arange(n_notes), [40] * n_notes, [1] * n_notes, steps=16)


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


def test_pieces_that_lack_a_feature_are_left_out_and_counted():
    silent = np.zeros((16, 88, 2), np.uint8)
    found = set_distances([rhythm(4), silent], [rhythm(3), rhythm(5)])
    assert found.loc["note_count", "n"] == 2
    assert found.loc["pitch_range", "n"] == 1
    assert np.isnan(found.loc["pitch_range", "intra"])


def test_bad_input():
    with pytest.raises(ValueError, match="rolls must hold at least one piece"):
        feature_vectors([])
    with pytest.raises(ValueError, match=r"rolls\[0\] must be uint8"):
        feature_vectors([np.zeros((3, 88))])
