"""Columns of several kinds: likelihoods side by side, DataFrames in and out, bad input."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Bernoulli, Categorical, Gaussian, Mixed, Poisson

LEVELS = ["blue", "green", "red"]
CITIES = pd.CategoricalDtype(list("ABCD"))


def people(n=300, seed=0):
    """A table in which one hidden class shapes every column."""
    rng = np.random.RandomState(seed)
    c = rng.randint(3, size=n)
    return pd.DataFrame(
        {
            "height": 170 + 8 * rng.standard_normal(n) + 6 * c,
            "age": rng.randint(18, 80, size=n),
            "smoker": rng.random_sample(n) < 0.1 + 0.4 * c,
            "colour": pd.Categorical(np.array(LEVELS)[c], LEVELS),
            "city": np.array(["A", "B", "C", "D"], dtype=object)[(c + rng.randint(2, size=n)) % 4],
        }
    )


def quick(Estimator, **params):
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return Estimator(2, **{**defaults, **params})


def with_holes(frame, share=0.2):
    mask = np.random.RandomState(1).random_sample(frame.shape) < share
    return frame.mask(pd.DataFrame(mask, columns=frame.columns))


# --- likelihoods ----------------------------------------------------------------------------------


def test_categories_are_a_softmax():
    rng = np.random.RandomState(0)
    likelihood = Categorical((2, 4)).build(np.ones(2)).double()
    numbers = torch.from_numpy(rng.standard_normal((5, 6)))
    x = torch.tensor(np.column_stack([rng.randint(2, size=5), rng.randint(4, size=5)])).double()
    p = likelihood(numbers)
    logs = [torch.log_softmax(numbers[:, :2], -1), torch.log_softmax(numbers[:, 2:], -1)]
    expected = torch.stack(
        [log.gather(1, x[:, j : j + 1].long())[:, 0] for j, log in enumerate(logs)], 1
    )
    torch.testing.assert_close(p.log_prob(x), expected)
    modes = torch.stack([log.argmax(1) for log in logs], 1)
    torch.testing.assert_close(p.mean, modes.double())
    drawn = np.stack([likelihood.draw(p, rng) for _ in range(4000)])
    shares = np.stack([(drawn[:, :, 1] == code).mean(axis=0) for code in range(4)], axis=1)
    np.testing.assert_allclose(shares, logs[1].exp(), atol=0.04)
    assert set(np.unique(drawn[:, :, 0])) <= {0, 1}


def test_encoding_is_by_indicators():
    likelihood = Categorical((2, 3)).build(np.ones(2))
    encoded = likelihood.encode(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    assert encoded.tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]
    np.testing.assert_array_equal(likelihood.owner, [0, 0, 1, 1, 1])


def test_a_product_is_the_sum_of_its_blocks():
    rng = np.random.RandomState(0)
    mixed = Mixed([(Poisson(), (2,)), (Gaussian(0.5), (0, 3)), (Categorical((3,)), (1,))])
    mixed.build(np.ones(4)).double()
    numbers, z = torch.from_numpy(rng.standard_normal((6, mixed.n_numbers))), torch.zeros(6, 2)
    x = torch.from_numpy(
        np.column_stack(
            [
                rng.standard_normal(6),
                rng.randint(3, size=6),
                rng.poisson(2, 6),
                rng.standard_normal(6),
            ]
        )
    )
    found = mixed(numbers, z).log_prob(x).numpy()
    rate = np.exp(30 * np.tanh(numbers[:, 0] / 30))
    np.testing.assert_allclose(found[:, 2], stats.poisson.logpmf(x[:, 2], rate), rtol=1e-6)
    for j, k in ((0, 1), (3, 2)):
        expected = stats.norm.logpdf(x[:, j], numbers[:, k], 0.5**0.5)
        np.testing.assert_allclose(found[:, j], expected, rtol=1e-6)
    logits = torch.log_softmax(numbers[:, 3:], -1)
    np.testing.assert_allclose(found[:, 1], logits[np.arange(6), x[:, 1].long()])
    assert (mixed.draw(mixed(numbers, z), rng) == np.round(x))[:, [1, 2]].shape == (6, 2)


def test_training_starts_at_the_shares_of_the_levels(Estimator):
    """With components that tell next to nothing, the score is that of independent columns."""
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(
        {
            "a": rng.choice(list("xyz"), p=[0.7, 0.2, 0.1], size=600),
            "b": rng.random_sample(600) < 0.3,
            "c": rng.standard_normal(600),
        }
    )
    model = quick(Estimator, max_iter=1).fit(frame)
    shares = frame["a"].value_counts(normalize=True)
    expected = np.log(shares[frame["a"]].to_numpy()).mean()
    share = frame["b"].mean()
    expected += share * np.log(share) + (1 - share) * np.log(1 - share)
    expected += stats.norm.logpdf(frame["c"], frame["c"].mean(), frame["c"].std()).mean()
    assert model.score(frame) == pytest.approx(expected, abs=0.1)


# --- tables in and out ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pandas", "nullable", "pyarrow", "polars"])
def test_round_trip(Estimator, kind):
    frame = people()
    if kind == "nullable":
        frame = frame.convert_dtypes()
    elif kind == "pyarrow":
        frame = frame.astype({"height": "double[pyarrow]", "age": "int64[pyarrow]"})
    elif kind == "polars":
        frame = pl.from_pandas(frame)
    model = quick(Estimator).fit(frame)
    for out in (
        model.sample(1000, random_state=0),
        model.inverse_transform(model.transform(frame)),
        model.impute(frame),
    ):
        assert type(out) is type(frame)
        assert list(out.columns) == list(frame.columns)
        if kind == "polars":
            assert out.schema == frame.schema
        else:
            assert (out.dtypes == frame.dtypes).all()
    assert model.impute(frame).equals(frame)
    assert np.isfinite(model.score_samples(frame)).all()


def test_missing_values_of_every_kind(Estimator):
    frame, holes = people(), with_holes(people())
    model = quick(Estimator).fit(holes)
    filled = model.impute(holes)
    assert filled.notna().all(axis=None)
    for name in frame:
        known = holes[name].notna()
        assert (filled[name][known].astype(str) == frame[name][known].astype(str)).all() or (
            np.allclose(filled[name][known].astype(float), frame[name][known].astype(float))
        )
    draws = model.impute(holes, multiple=2, random_state=0)
    assert len(draws) == 2
    assert all(draw.notna().all(axis=None) for draw in draws)
    assert np.isfinite(model.transform(holes)).all()
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.transform(holes), model.transform(holes))
    assert loaded.sample(3, random_state=0).equals(model.sample(3, random_state=0))


def test_an_imputed_category_is_the_most_likely_one():
    """Of the mean of the probabilities over draws: not a mean of codes, which have no order."""
    logits = torch.tensor([[[[9.0, 0.0, 8.9]]], [[[0.0, 0.0, 9.0]]]])  # two draws of one row
    categorical = Categorical((3,)).build(np.ones(1))
    p = categorical(logits.flatten(-2))
    weights = torch.tensor([[0.5], [0.5]])
    assert categorical.mean_over(p, weights).item() == 2  # the codes alone, 0 and 2, would give 1
    mixed = Mixed([(Gaussian(1.0), (1,)), (categorical, (0,))]).build(np.ones(2))
    numbers = torch.cat([torch.tensor([[[1.0]], [[3.0]]]), logits.flatten(-2)], -1)
    torch.testing.assert_close(mixed.mean_over(mixed(numbers), weights), torch.tensor([[2.0, 2.0]]))


def test_imputed_categories_are_right_where_the_table_tells_them(Estimator):
    frame = people(600)[["height", "colour"]]
    frame["shade"] = frame["colour"].astype(object)
    holes = frame.copy()
    holes.loc[::5, "shade"] = None
    model = Estimator(2, max_iter=40, random_state=0).fit(holes)
    assert (model.impute(holes)["shade"] == frame["shade"])[::5].mean() > 0.9


def test_numbers_alone_are_what_they_were(Estimator):
    frame = people()[["height", "age"]]
    of_frame, of_array = quick(Estimator).fit(frame), quick(Estimator).fit(frame.to_numpy())
    np.testing.assert_array_equal(of_frame.transform(frame), of_array.transform(frame.to_numpy()))
    assert isinstance(of_frame.inverse_transform(of_frame.transform(frame)), np.ndarray)
    asked = of_frame.set_output(transform="pandas")
    assert list(asked.inverse_transform(asked.transform(frame))) == ["height", "age"]
    assert list(asked.sample(3)) == ["height", "age"]


def test_it_tells_categories(Estimator):
    frame = people(600)
    model = Estimator(3, max_iter=30, random_state=0).fit(frame)
    rebuilt = model.inverse_transform(model.transform(frame))
    assert (rebuilt["colour"] == frame["colour"]).mean() > 0.8
    classifier = make_pipeline(clone(model), LogisticRegression(max_iter=1000))
    assert (
        classifier.fit(frame[["height", "age", "smoker", "city"]], frame["colour"]).score(
            frame[["height", "age", "smoker", "city"]], frame["colour"]
        )
        > frame["colour"].value_counts(normalize=True).max()
    )


def test_columns_by_number_in_an_array(Estimator):
    frame = people()
    X = np.column_stack([frame["height"], frame["colour"].cat.codes])
    model = quick(Estimator, categorical_features=[1]).fit(X)
    assert isinstance(model.net_.module_.likelihood, Mixed)
    out = model.sample(50, random_state=0)
    assert set(out[:, 1]) <= {0, 1, 2}
    for chosen in ([False, True], np.array([1])):
        same = quick(Estimator, categorical_features=chosen).fit(X)
        np.testing.assert_array_equal(same.transform(X), model.transform(X))
    by_name = quick(Estimator, categorical_features=["k"])
    assert np.isfinite(by_name.fit(pd.DataFrame(X, columns=["h", "k"])).loss_)


def test_likelihoods_of_their_own(Estimator):
    frame = people()[["height", "age", "colour"]]
    likelihood = [("negative_binomial", ["age"]), (Gaussian("per_feature"), "height")]
    likelihood.append(("categorical", ["colour"]))
    model = quick(Estimator, likelihood=likelihood).fit(frame)
    assert model.dispersion_[1] > 0
    assert model.dispersion_[0] == 0
    assert model.noise_variance_[0] > 0
    assert np.isfinite(clone(model).fit(frame).score(frame))


def test_streams_of_blocks(Estimator):
    frame = people()
    model = quick(Estimator)
    for block in (frame[:100], frame[100:200], frame[200:]):
        model.partial_fit(block)
    assert np.isfinite(model.score(frame))


def test_a_stream_is_not_worse_off_for_its_first_block(Estimator):
    """Off centre, of another scale, without some levels, and with a column that is constant."""
    frame, scores = people(600).astype({"city": CITIES}), []
    first = frame[:60].assign(height=150 + 0.2 * (frame["height"] - 170), age=40)
    first["city"] = first["city"].where(first["city"] != "D", "A")
    for block in (frame[:60], first):
        model = quick(Estimator).partial_fit(block)
        for start in range(60, 600, 60):
            model.partial_fit(frame[start : start + 60])
        scores.append(model.score(frame))
        assert (model.scale_ > 0).all()
    assert scores[1] > scores[0] - 0.2


@pytest.mark.parametrize("holes", [False, True])
def test_moments_of_a_stream_are_those_of_what_the_encoder_sees(holes):
    frame = people().astype({"city": CITIES})
    model = quick(VAETransformer).partial_fit(with_holes(frame) if holes else frame)
    if holes:
        assert model._moments is None
        return
    seen = [
        frame[["height", "age"]],
        frame[["smoker"]],
        *(pd.get_dummies(frame[name]) for name in ("colour", "city")),
    ]
    seen = np.hstack([part.to_numpy(float) for part in seen])
    np.testing.assert_allclose(model._moments["mean"], seen.mean(axis=0))
    np.testing.assert_allclose(model._moments["covariance"], np.cov(seen.T, bias=True))


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_the_dtype_of_the_first_block_declares_levels(Estimator, kind):
    """Levels may be missing in any block, and later blocks may declare fewer, or none."""
    frame, model = people().sort_values("city"), quick(Estimator)
    blocks = [frame[:100], frame[100:200], frame[200:]]
    if kind == "polars":
        blocks = [pl.from_pandas(block) for block in blocks]
        declared = {"city": pl.Enum(list("ABCD")), "colour": pl.Enum(LEVELS)}
        blocks[0] = blocks[0].cast(declared)
    else:
        blocks[0] = blocks[0].astype({"city": CITIES})
        blocks[1] = blocks[1].assign(city=pd.Categorical(blocks[1]["city"]))
    if kind == "pyarrow":
        blocks = [pa.Table.from_pandas(block).to_pandas() for block in blocks]
    for block in blocks:
        model.partial_fit(block)
    assert model.sample(3)["city"].dtype == blocks[0]["city"].dtype
    assert all(np.isfinite(model.score(block)) for block in blocks)


def test_levels_that_a_stream_did_not_declare(Estimator):
    frame = people().sort_values("city")
    known, rest = frame[frame["city"] < "C"], frame[frame["city"] >= "C"]
    model = quick(Estimator).partial_fit(known)
    with pytest.raises(ValueError, match=r"'city'.*'C'.*categorical dtype"):
        model.partial_fit(rest)
    ignoring = quick(Estimator, handle_unknown="ignore").partial_fit(known).partial_fit(rest)
    assert set(ignoring.sample(300, random_state=0)["city"]) <= {"A", "B"}


@pytest.mark.parametrize("value", [2.0, np.nan])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("place", [0, 2, 5])
def test_every_method_takes_a_table_with_a_column_left_out(Estimator, place, holes, value):
    frame = with_holes(people(60)) if holes else people(60)
    frame.insert(place, "unused", value)
    model = quick(Estimator).fit(frame)
    model = pickle.loads(pickle.dumps(model))
    for method in (model.transform, model.score_samples, model.elbo):
        assert np.isfinite(method(frame)).all()
    tables = model.impute(frame), model.sample(5), model.inverse_transform(model.transform(frame))
    for table in (*tables, *model.impute(frame, multiple=2)):
        assert list(table.columns) == list(frame.columns)
        assert np.array_equal(table["unused"], np.full(len(table), value), equal_nan=True)
        assert table.drop(columns="unused").notna().all(axis=None)


def test_every_method_takes_a_list_of_likelihoods_with_a_column_left_out(Estimator):
    X = np.random.RandomState(0).poisson(3.0, (60, 5)).astype(float)
    X[:, 1] = 7.0
    likelihood = [(Gaussian("per_feature"), [0, 1, 2]), (Poisson(), [3, 4])]
    model = quick(Estimator, likelihood=likelihood).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    np.testing.assert_array_equal(model.inverse_transform(model.transform(X))[:, 1], 7.0)
    X[3, 4] = -1
    with pytest.raises(ValueError, match=r"column 4 of X has -1\.0 in row 3"):
        model.transform(X)


def test_rows_keep_their_labels(Estimator):
    frame = with_holes(people(60)).set_axis([f"row {i}" for i in range(60)])
    rows, numbers = frame[10:20], frame[["height", "age"]].astype(float)
    model = quick(Estimator).set_output(transform="pandas").fit(frame)
    of_numbers = clone(model).set_output(transform="pandas").fit(numbers)
    for found in (
        model.impute(rows),
        *model.impute(rows, multiple=2),
        model.inverse_transform(model.transform(rows)),
        of_numbers.impute(numbers[10:20]),
        of_numbers.inverse_transform(of_numbers.transform(numbers[10:20])),
    ):
        assert list(found.index) == list(rows.index)
    assert list(model.impute(list(rows.to_numpy())).index) == list(range(10))


def test_weights_and_mixed_columns(Estimator):
    frame = people()
    w = np.random.RandomState(0).randint(1, 3, size=len(frame))
    assert np.isfinite(quick(Estimator).fit(frame, sample_weight=w).score(frame, sample_weight=w))


# --- bad input ------------------------------------------------------------------------------------


def test_categories_that_the_fit_did_not_see(Estimator):
    frame = people()
    model = quick(Estimator).fit(frame)
    other = frame.assign(city="Z")
    with pytest.raises(ValueError, match=r"'city'.*'Z'.*handle_unknown"):
        model.transform(other)
    ignoring = quick(Estimator, handle_unknown="ignore").fit(frame)
    missing = ignoring.transform(frame.assign(city=None))
    np.testing.assert_allclose(ignoring.transform(other), missing)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pd.date_range("2020", periods=300), "dates"),
        ([[1, 2]] * 300, "lists"),
        ([f"level {i}" for i in range(300)], "300 levels"),
    ],
    ids=["dates", "lists", "many levels"],
)
def test_columns_without_a_likelihood(Estimator, column, said):
    frame = people().assign(odd=column)
    with pytest.raises(ValueError, match=f"'odd'.*{said}"):
        quick(Estimator).fit(frame)


def test_sampled_numbers_stay_within_the_range_of_their_column(Estimator):
    """Not within that of a row of weight 0, and not if nobody wants it."""
    frame = people().assign(height=lambda rows: rows["height"].clip(lower=rows["height"].median()))
    far = frame[:1].assign(height=1e4)
    weight = np.append(np.ones(len(frame)), 0)
    rows = pd.concat([frame, far], ignore_index=True)
    model = quick(Estimator).fit(rows, sample_weight=weight)
    drawn, free = model.sample(2000, random_state=0), model.sample(2000, random_state=0, clip=False)
    for name in ("height", "age"):
        least, most = frame[name].min(), frame[name].max()
        assert drawn[name].between(least, most).all()
        assert (free[name] < least).any()
        pd.testing.assert_series_equal(drawn[name], free[name].clip(least, most))
    pd.testing.assert_series_equal(drawn["colour"], free["colour"])


def test_the_range_of_a_stream_is_that_of_all_its_blocks(Estimator):
    low, high = people(), people().assign(height=lambda rows: rows["height"] + 50)
    model = quick(Estimator).partial_fit(low).partial_fit(high)
    drawn = model.sample(2000, random_state=0)["height"]
    assert drawn.max() > low["height"].max()
    assert drawn.between(low["height"].min(), high["height"].max()).all()


def test_a_column_that_changes_its_kind(Estimator):
    frame = people()
    model = quick(Estimator).fit(frame)
    with pytest.raises(ValueError, match=r"'height'.*real"):
        model.transform(frame.assign(height="tall"))


@pytest.mark.parametrize(
    "likelihood",
    [
        [("gaussian", ["height", "age"]), ("categorical", ["age", "colour"])],
        [("gaussian", ["height"]), ("categorical", ["colour"])],
        [("gaussian", ["height", "weight"]), ("categorical", ["age", "colour"])],
    ],
    ids=["twice", "not at all", "not there"],
)
def test_columns_of_a_list(Estimator, likelihood):
    frame = people()[["height", "age", "colour"]]
    with pytest.raises(ValueError, match="likelihood"):
        quick(Estimator, likelihood=likelihood).fit(frame)


def test_negative_counts_in_a_list(Estimator):
    frame = people()[["height", "age"]].assign(age=-1)
    likelihood = [("poisson", ["age"]), ("gaussian", ["height"])]
    with pytest.raises(ValueError, match="'age'"):
        quick(Estimator, likelihood=likelihood).fit(frame)


def test_no_categories_asked_for(Estimator):
    with pytest.raises(ValueError, match="categorical_features=None"):
        quick(Estimator, categorical_features=None).fit(people())


def test_a_boolean_column_alone(Estimator):
    frame = pd.DataFrame({"a": [True, False] * 50, "b": [True] * 30 + [False] * 70})
    model = quick(Estimator).fit(frame)
    assert isinstance(model.net_.module_.likelihood.parts[0], Bernoulli)
    assert all(str(dtype) == "bool" for dtype in model.sample(10).dtypes)
