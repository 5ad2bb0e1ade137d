"""Claims and the verdict: by hand, with controls, and with too little.

Claim C1: simulated answers never decide it, real ones only by the rule."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from piece_tables import piece_table

from musiclib.distance import FEATURES
from study import claims, figures, measuring
from study.listening import (
    CHOICE,
    HEARD,
    LISTENER,
    SIMULATED,
    Answer,
    Clip,
    ProvenanceError,
    answer_line,
    clip_code,
    deal,
    design,
    header,
)
from study.preference import write_simulated


def test_spread_ratio_by_hand():
    floors = np.array([f.floor for f in FEATURES.values()])
    real = np.tile(10 * floors, (4, 1)) * np.array([1, -1, 1, -1])[:, None]
    assert claims.spread_ratio(0.5 * real, real) == pytest.approx(0.5)
    assert claims.spread_ratio(real, 0 * real) == pytest.approx(10)


def test_variance_within_seeds_ignores_what_lies_between_them():
    frame = piece_table(seeds=2, n=50)
    frame.loc[frame["seed"] == 1, list(FEATURES)] += 1000
    ready = claims.prepared(frame)
    chosen = ready.loc[ready["model"] == "gan", "within_polyphony"]
    own = frame[frame["model"] == "gan"].groupby("seed")["polyphony"].var(ddof=1)
    assert (chosen**2).mean() == pytest.approx(own.mean())


def test_the_rule_has_three_answers():
    assert claims.decide(0.34, 0.9, 0.33) == "yes"
    assert claims.decide(-1.0, 0.32, 0.33) == "no"
    assert claims.decide(0.33, 0.9, 0.33) == "undecided"
    assert claims.decide(math.nan, math.nan, 0.33) == "undecided"


CONTROLS = ("shuffled", "random", "collage_bars", "collage_phrases", "backwards")
FORGETFUL = (
    "shuffled",
    "collage_bars",
    "collage_phrases",
    "markov_common_key",
    "lstm_reset",
    "gan",
)
SHIFTS = {
    "energy": {"vae": 20, "gan": 10, "lstm": 0, "real": -5, "shuffled": 5, "random": 5}
    | {"backwards": -5, "collage_phrases": -5},
    "mean": {"vae": 0.02, "gan": 0.01, "shuffled": 0.01, "random": 0.01},
    "spectral_flatness": {"vae": 20, "gan": 10},
    "melody_return": {**dict.fromkeys(FORGETFUL, -10), "real": -1},
    **dict.fromkeys(("note_density", "time_arrow"), dict.fromkeys(CONTROLS, 10)),
    **{name: {"vae": 100} for name in ("polyphony", "top_step", "pitch_range")},
    **{name: {"vae": 100} for name in ("cadence", "line_move", "worst_line")},
}
for _name in ("note_density", "time_arrow"):
    SHIFTS[_name] = {**SHIFTS[_name], "markov_common_key": 10}


def shifted(**change):
    """Return pieces for which every claim holds by far, but for what is changed."""
    frame = piece_table(n=30, shift={**SHIFTS, **change})
    frame["mean"] = frame["mean"] * 1e-6 + [
        change.get("mean", SHIFTS["mean"]).get(m, 0.0) for m in frame["model"]
    ]
    return frame


def test_what_holds_by_far_is_yes():
    parts = claims.claim_parts(shifted(), seed=0, n_resamples=150)
    assert claims.verdict(parts).set_index("claim")["holds"].to_dict() == {
        "C1": "undecided", **{f"C{i}": "yes" for i in range(2, 9)},
    }  # fmt: skip
    assert (parts.loc[parts["decides"], "low"] <= parts.loc[parts["decides"], "effect"]).all()


def test_one_part_that_fails_makes_a_no_and_is_the_one_shown():
    frame = shifted(energy={**SHIFTS["energy"], "gan": 0, "lstm": 10})
    parts = claims.claim_parts(frame, seed=0, n_resamples=150)
    c2 = claims.verdict(parts).set_index("claim").loc["C2"]
    assert c2["holds"] == "no"
    assert c2["effect"] == pytest.approx(-10, abs=1)
    assert c2["low"] <= c2["effect"] <= c2["high"] < 1


@pytest.mark.parametrize(
    ("returns", "why"),
    [
        ({"shuffled": 0}, "also passed by shuffled music"),
        ({"gan": 0, "shuffled": 0}, "also passed by shuffled music and GAN"),
        (  # a rule that misleads says no "no" either
            {"lstm_reset": 0, "lstm": -20},
            "also passed by an LSTM that forgets at bar lines",
        ),
    ],
)
def test_a_claim_that_a_control_passes_too_is_undecided_and_says_who(returns, why):
    plain = claims.claim_parts(shifted(), seed=0, n_resamples=150)
    frame = shifted(melody_return={**SHIFTS["melody_return"], **returns})
    parts = claims.claim_parts(frame, seed=0, n_resamples=150)
    c7 = claims.verdict(parts).set_index("claim").loc["C7"]
    assert (c7["holds"], c7["why"]) == ("undecided", why)
    assert math.isfinite(c7["effect"])
    rest = parts[parts["claim"] != "C7"]
    pd.testing.assert_frame_equal(rest, plain[plain["claim"] != "C7"])
    assert plain.loc[(plain["claim"] == "C7") & plain["decides"], "why"].eq("").all()


def test_a_control_that_passes_some_parts_changes_no_answer_and_is_named():
    returns = {**SHIFTS["melody_return"], "markov_common_key": -5}  # more than collages, not real
    parts = claims.claim_parts(shifted(melody_return=returns), seed=0, n_resamples=150)
    passed = parts[parts["part"].str.startswith("Markov in C: LSTM")].set_index("part")["holds"]
    assert passed.tolist() == ["yes", "no"]
    flags = parts[parts["decides"] & (parts["claim"] == "C7")]["passed_by"]
    assert flags.tolist() == ["Markov in C", ""]
    assert claims.verdict(parts).set_index("claim").loc["C7", "holds"] == "yes"


def test_controls_take_the_models_place_and_decide_nothing():
    for claim, (subject, lacking) in claims.CONTROLS.items():
        others = {*lacking, *claims.EVERYWHERE} - {subject}
        own = [part for part in claims.PARTS if part.claim == claim]
        deciding = {p.name: p for p in own if p.decides and subject in (p.first, p.second)}
        controls = [part for part in own if part.control]
        assert len(controls) == len(deciding) * len(others)
        for part in controls:
            instead = deciding[part.control_of]
            changed = {(a, b) for a, b in zip(part[4:6], instead[4:6], strict=True) if a != b}
            assert changed <= {(other, subject) for other in others}
            assert not part.decides
            assert part.must_fail == (part.control in {claims._NAMES[name] for name in lacking})
            assert part[6:9] == instead[6:9]


def test_every_claim_about_models_has_controls():
    assert list(claims.CONTROLS) == [f"C{i}" for i in range(2, 9)]


def test_nearness_is_by_both_rulers_and_beside_the_chain():
    near = {**SHIFTS["time_arrow"], "markov_common_key": 0, "gan": 30}  # by the second alone
    parts = claims.claim_parts(shifted(time_arrow=near), seed=0, n_resamples=150)
    c8 = parts[(parts["claim"] == "C8") & parts["decides"]].set_index("part")["holds"]
    assert c8["GAN nearer than Markov in C, first ruler"] == "yes"
    assert c8["GAN nearer than Markov in C, second ruler"] == "no"
    assert claims.verdict(parts).set_index("claim").loc["C8", "holds"] == "no"


def test_other_draws_that_do_not_agree_leave_it_undecided(monkeypatch):
    monkeypatch.setattr(claims, "OTHER_SEEDS", 3)
    answers = iter(["yes", *["no"] * 2, "yes"] * 1000)
    monkeypatch.setattr(claims, "decide", lambda *_: next(answers))
    monkeypatch.setattr(claims, "_close", lambda row: True)
    monkeypatch.setattr(claims, "CONTROLS", {})
    monkeypatch.setattr(claims, "PARTS", claims.PARTS[:1])
    found = claims.claim_parts(shifted(), seed=0, n_resamples=100).iloc[0]
    assert (found["holds"], found["why"]) == (
        "undecided", "other draws of its bootstrap do not agree",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "close"),
    [(1.0, 2.0, False), (0.5, 2.0, False), (0.1, 2.0, True), (-2, -0.1, True)],
)
def test_an_answer_is_asked_again_where_the_margin_is_near(low, high, close):
    assert claims._close({"low": low, "high": high, "margin": 0.0}) == close


def test_what_no_model_takes_part_in_is_computed_once_for_both_kinds():
    plain = claims.claim_parts(shifted(), kind="plain", seed=0, n_resamples=100)
    alone = claims.claim_parts(shifted(), kind="refined", seed=0, n_resamples=100)
    after = claims.claim_parts(
        shifted(), kind="refined", seed=0, n_resamples=100, other_kind=plain
    )  # fmt: skip
    pd.testing.assert_frame_equal(after, alone)


def test_each_kind_has_its_verdict():
    parts = [
        claims.claim_parts(shifted(), kind=k, seed=0, n_resamples=100) for k in ("refined", "plain")
    ]
    found = claims.verdict(pd.concat(parts, ignore_index=True))
    assert found["kind"].tolist() == ["plain"] * 8 + ["refined"] * 8
    both = found.pivot(index="claim", columns="kind", values="holds")
    assert both["plain"].tolist() == both["refined"].tolist()


def test_what_is_missing_is_said_before_what_a_control_passes():
    returns = {**SHIFTS["melody_return"], "shuffled": 0}
    one = shifted(melody_return=returns).query("seed == 0")
    parts = claims.claim_parts(one, seed=0, n_resamples=100)
    assert claims.verdict(parts).set_index("claim").loc["C7", "why"] == "trainings: 1, needed 5"


def test_one_training_decides_nothing_about_a_model():
    parts = claims.claim_parts(shifted().query("seed == 0"), seed=0, n_resamples=100)
    deciding = parts[parts["decides"]].set_index("claim")
    assert (deciding.loc[["C2", "C3", "C4", "C6", "C7", "C8"], "holds"] == "undecided").all()
    assert deciding.loc["C2", "why"].tolist() == ["trainings: 1, needed 5"] * 2
    assert deciding.loc["C2", "effect"].notna().all()
    assert claims.verdict(parts).set_index("claim").loc["C5", "holds"] == "yes"


def test_few_pieces_or_none_decide_nothing():
    frame = shifted()
    few = frame[(frame["model"] != "real") | (frame["sample"] < 19)]
    found = claims.verdict(claims.claim_parts(few, seed=0, n_resamples=100))
    assert found.set_index("claim").loc["C5", "holds"] == "undecided"
    without = frame[frame["model"] != "gan"]
    parts = claims.claim_parts(without, seed=0, n_resamples=100)
    c8 = parts[(parts["claim"] == "C8") & parts["decides"]].iloc[0]
    assert (c8["holds"], c8["why"]) == ("undecided", "pieces of gan: 0, needed 20")
    assert math.isnan(c8["effect"])
    answers = claims.verdict(parts).set_index("claim")
    assert (answers.loc[["C2", "C8"], "holds"] == "undecided").all()
    assert math.isnan(answers.loc["C8", "effect"])


def test_the_verdict_is_the_same_for_the_same_seed():
    frame = piece_table(seeds=2, n=8)
    first, again, other = (claims.claim_parts(frame, seed=s, n_resamples=100) for s in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first["low"].equals(other["low"])
    assert first["effect"].equals(other["effect"])


def test_every_claim_has_its_rule_and_nothing_simulated_enters():
    assert list(claims.rules()["claim"]) == [f"C{i}" for i in range(1, 9)]
    assert {part.claim for part in claims.PARTS if part.decides} == {f"C{i}" for i in range(2, 9)}
    assert not any("listen" in str(part.columns) for part in claims.PARTS)
    empty = pd.DataFrame(columns=claims.PART_COLUMNS).astype({"decides": bool})
    assert list(claims.verdict(empty).columns) == claims.COLUMNS
    assert set(claims.verdict(empty)["holds"]) == {"undecided"}


def test_a_feature_that_real_music_lacks_is_dropped_from_every_count():
    frame = shifted()
    frame["consonant_share"] = np.nan
    assert (measuring.features_outside(frame[frame["model"] == "real"]) < 18).all()
    with_it = measuring.features_outside(frame.assign(consonant_share=0.0))
    assert measuring.features_outside(frame).tolist() == with_it.tolist()
    parts = claims.claim_parts(frame, seed=0, n_resamples=150)
    answers = claims.verdict(parts).set_index("claim")["holds"]
    assert (answers.drop("C1") == "yes").all()
    assert (parts["why"] == "").all()


def test_a_measure_that_a_set_does_not_define_decides_nothing_and_says_so():
    frame = shifted()
    frame.loc[frame["model"] == "collage_phrases", "melody_return"] = np.nan
    frame.loc[(frame["model"] == "gan") & (frame["sample"] > 2), "consonant_share"] = np.nan
    parts = claims.claim_parts(frame, seed=0, n_resamples=150)
    deciding = parts[parts["decides"]].set_index("claim")
    c7 = deciding.loc["C7"].iloc[0]
    assert (c7["holds"], c7["why"]) == (
        "undecided", "pieces of collage_phrases that define melody that returns: 0, needed 20",
    )  # fmt: skip
    assert math.isnan(c7["effect"])
    c8 = deciding.loc["C8"].iloc[0]
    assert c8["holds"] == "undecided"
    assert c8["why"] == "pieces of gan that define spread of features: 15, needed 20"
    answers = claims.verdict(parts).set_index("claim")["holds"]
    assert answers[["C7", "C8"]].tolist() == ["undecided"] * 2
    assert answers["C2"] == "yes"


def test_a_silent_piece_has_no_level_and_is_not_counted():
    frame = shifted()
    row = frame.index[frame["model"] == "vae"][0]
    frame.loc[row, "energy"] = 0.0
    frame.loc[row, ["polyphony", "mean_pitch"]] = np.nan
    parts = claims.claim_parts(frame, seed=0, n_resamples=100)
    c2 = parts[(parts["claim"] == "C2") & parts["decides"]].iloc[0]
    assert c2["n_first"] == 149
    assert np.isfinite(c2[["effect", "low", "high"]].astype(float)).all()


SEED = 0
COMMITTED = Path(__file__).resolve().parent.parent / "data/listening/simulated_answers.csv"


def make_clips(*, seeds=5, n=10):
    """Return clips whose models have so many trainings."""
    silent = np.zeros((1, 88, 2), np.uint8)
    trained = ("lstm", "gan", "vae")
    return [
        Clip(clip_code(m, k), m, k % seeds if m in trained else -1, k, "", silent)
        for m in HEARD
        for k in range(n)
    ]


CLIPS = make_clips()


def listen(folder, prefer, *, listeners=20, clips=CLIPS, kinds=("rating", "choice"), tag=None):
    """Write files of real listeners, who choose as `prefer(first model, second model)` says."""
    folder.mkdir(exist_ok=True)
    model = {clip.code: clip.model for clip in clips}
    for k in range(listeners):
        name, lines = f"l{k}", [header(LISTENER)]
        for trial in deal(clips, listener=name, seed=SEED):
            if trial.kind in kinds:
                pair = (model[trial.first], model.get(trial.second))
                said = prefer(*pair) if trial.kind == CHOICE else "3"
                answer = Answer(tag or design(clips, seed=SEED), name, *trial, said, 20.0)
                lines.append(answer_line(answer, provenance=LISTENER))
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def by_rank(order):
    """Return listeners who always choose what stands earlier in an order."""
    return lambda a, b: "first" if order.index(a) < order.index(b) else "second"


def parts(folder, clips=CLIPS):
    return claims.listener_parts(folder, clips, seed=SEED, n_resamples=200)


def answer_of(found):
    return claims.verdict(found).set_index("claim").loc["C1", "holds"]


PAPERS = ("real", "lstm", "gan", "vae", "markov")


# What is simulated never enters


def disguises():
    """Return ways in which a simulated file might come to lie among real ones: name and text."""
    text = COMMITTED.read_text()
    no_word = text.replace("provenance_simulated", "provenance_listener").replace(
        "simulated", "listener"
    )
    stripped = "\n".join(line.split(",", 1)[1] for line in text.splitlines())
    renamed = text.replace("provenance_simulated", "source")
    headers = ("provenance_simulated", "provenance_listener")
    return {
        "as it is": ("simulated_answers.csv", text),
        "another name": ("heron.csv", text),
        "name and header changed": ("heron.csv", text.replace(*headers)),
        "column renamed": ("heron.csv", renamed),
        "column taken out": ("heron.csv", stripped),
        "column taken out, real header": (
            "heron.csv",
            "\n".join([header(LISTENER), *stripped.splitlines()[1:]]),
        ),
        "header taken out": ("heron.csv", text.split("\n", 1)[1]),
        "every word replaced and no header": ("heron.csv", no_word.split("\n", 1)[1]),
        "real words, simulated name": ("Simulated.csv", no_word),
        "upper case": ("heron.csv", text.upper()),
    }  # fmt: skip


@pytest.mark.parametrize("how", disguises())
def test_a_simulated_file_is_refused_however_it_is_called(how, tmp_path):
    folder = listen(tmp_path / "answers", by_rank(PAPERS), listeners=2)
    name, text = disguises()[how]
    (folder / name).write_text(text)
    with pytest.raises(ProvenanceError):
        parts(folder)
    for file in folder.glob("l*.csv"):
        file.unlink()
    with pytest.raises(ProvenanceError):
        parts(folder)


def test_a_forger_who_replaces_every_word_still_has_answered_no_test(tmp_path):
    (tmp_path / "heron.csv").write_text(COMMITTED.read_text().replace(SIMULATED, LISTENER))
    found = parts(tmp_path)
    assert found["holds"].tolist() == ["undecided"] * 2
    assert found["why"].str.startswith("real listeners: 0, needed").all()


def test_a_file_without_provenance_is_refused(tmp_path):
    folder = listen(tmp_path / "answers", by_rank(PAPERS))
    some = folder / "l3.csv"
    some.write_text("\n".join(line.split(",", 1)[1] for line in some.read_text().splitlines()))
    with pytest.raises(ProvenanceError, match="does not say provenance_listener"):
        parts(folder)


def test_the_feeding_function_takes_no_table(tmp_path):
    with pytest.raises(TypeError):
        parts(pd.read_csv(COMMITTED))
    simulated = write_simulated(CLIPS, tmp_path / "simulated.csv")
    with pytest.raises(ProvenanceError):
        parts(simulated.parent)


# What real listeners say


def test_without_listeners_it_is_undecided(tmp_path):
    found = parts(tmp_path / "none")
    assert list(found) == claims.PART_COLUMNS
    assert found["part"].tolist() == ["LSTM above GAN", "GAN above VAE"]
    assert found["effect"].isna().all()
    assert answer_of(found) == "undecided"


@pytest.mark.parametrize(
    ("order", "holds"),
    [(PAPERS, "yes"), (("real", "vae", "gan", "lstm", "markov"), "no")],
)
def test_clear_orders_are_decided(order, holds, tmp_path):
    found = parts(listen(tmp_path / "answers", by_rank(order)))
    assert found["holds"].tolist() == [holds] * 2
    assert answer_of(found) == holds
    assert found[["seeds", "n_first", "n_second"]].to_numpy().tolist() == [[5, 10, 10]] * 2
    whole = pd.concat([found, found.assign(claim="C2", holds="no")], ignore_index=True)
    picture = figures.draw_verdict(whole, claims.verdict(whole))
    words = [text.get_text() for text in picture.axes[1].get_yticklabels()]
    assert words == ["LSTM above GAN (n = 10)", "GAN above VAE (n = 10)"]
    plt.close(picture)
    assert claims.verdict(whole)["holds"].tolist() == [holds, "no"] + ["undecided"] * 6


def test_no_preference_at_all_is_no(tmp_path):
    found = parts(listen(tmp_path / "answers", lambda a, b: "tie"))
    assert found["effect"].abs().max() < 1e-9
    assert answer_of(found) == "no"


def test_what_lies_about_the_margin_is_undecided(tmp_path):
    rng = np.random.default_rng(0)
    liking = dict(zip(PAPERS, np.arange(5) * -claims.MARGIN, strict=True))

    def noisy(a, b):
        return "first" if rng.random() < 1 / (1 + math.exp(liking[b] - liking[a])) else "second"

    assert answer_of(parts(listen(tmp_path / "answers", noisy))) == "undecided"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"listeners": 11}, "real listeners: 11, needed 12"),
        ({"clips": make_clips(seeds=4)}, "trainings: 4, needed 5"),
        ({"clips": make_clips(seeds=1)}, "trainings: 1, needed 5"),
        ({"kinds": ("rating",)}, "real listeners: 0, needed 12"),
        ({"tag": "another"}, "real listeners: 0, needed 12"),
        ({"listeners": 1}, "real listeners: 1, needed 12"),
    ],
)
def test_too_little_is_reported_and_decides_nothing(settings, why, tmp_path):
    found = parts(
        listen(tmp_path / "answers", by_rank(PAPERS), **settings), settings.get("clips", CLIPS)
    )
    assert found["why"].unique().tolist() == [why]
    assert answer_of(found) == "undecided"


def test_few_choices_between_the_two_decide_nothing(tmp_path):
    model = {clip.code: clip.model for clip in CLIPS}
    folder = listen(tmp_path / "answers", by_rank(PAPERS))
    for file in sorted(folder.iterdir())[4:]:
        lines = file.read_text().splitlines()
        kept = [
            line
            for line in lines[1:]
            if {model.get(code) for code in line.split(",")[5:7]} != {"lstm", "gan"}
        ]
        file.write_text("\n".join([lines[0], *kept]) + "\n")
    found = parts(folder)
    assert found["why"].tolist() == ["choices between the two: 16, needed 20", ""]
    assert answer_of(found) == "undecided"
