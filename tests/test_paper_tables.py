"""The tables of the page on the rho-VAE paper, and what the page says of them."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
spec = importlib.util.spec_from_file_location("paper_tables", DOCS / "_ext" / "paper_tables.py")
paper_tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(paper_tables)
HEAD = ["protocol", "data", "model", "posterior", "seed", "epochs", "bound", "nll", "nll_se"]


def read(text):
    """Mean and standard error (0 if there is none) of a number in a table."""
    mean, _, error = text.replace("−", "-").partition(" ± ")
    return float(mean), float(error or 0)


@pytest.mark.parametrize("n_seeds", [1, 2, 5])
def test_a_table_has_means_and_standard_errors(n_seeds, tmp_path):
    bounds = np.random.RandomState(0).uniform(90, 110, (2, n_seeds))
    path = tmp_path / "some.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEAD, restval="")
        writer.writeheader()
        for posterior, own in zip(("diag", "ar1"), bounds, strict=True):
            of = {"protocol": "paper", "data": "mnist", "model": "mlp", "posterior": posterior}
            for seed in np.random.RandomState(1).permutation(n_seeds):
                writer.writerow(of | {"seed": seed, "bound": own[seed]})
        others = {"protocol": "paper", "data": "mnist", "model": "beta", "posterior": "full"}
        writer.writerow(others | {"seed": 0, "bound": 1.0})

    def expected(numbers):
        error = numbers.std(ddof=1) / n_seeds**0.5 if n_seeds > 1 else 0
        return pytest.approx((numbers.mean(), error), abs=0.0051)

    head, *lines = paper_tables.table("grey", path)
    assert [line[:2] for line in lines[:2]] == [["VAE", "``diag``"], ["VAE", "``ar1``"]]
    assert {len(line) for line in lines} == {len(head)} == {4}
    assert [line[2] for line in lines] == ["–"] * 3
    assert [read(line[3]) for line in lines[:2]] == [expected(own) for own in bounds]
    (line,) = paper_tables.table("differences", path)[1:]
    assert line[0] == "``ar1``"
    assert read(line[2]) == expected(bounds[1] - bounds[0])


@pytest.fixture(scope="module")
def experiments():
    return paper_tables.Experiments()


def test_every_table_of_the_page_is_there():
    page = (DOCS / "user_guide" / "rho_vae_paper.rst").read_text()
    for name in paper_tables.TABLES:
        assert f":table: {name}\n" in page
        assert len(paper_tables.table(name)) > 1


@pytest.mark.parametrize("data", paper_tables.DATA)
def test_what_the_page_says_of_its_tables(data, experiments):
    def number(column="bound", **wanted):
        return np.mean(list(experiments.numbers(column, data=data, **wanted).values()))

    code = {"protocol": "published", "posterior": "published"}
    vae = number(protocol="published", posterior="diag")
    assert number("reported", **code) == pytest.approx(paper_tables.IN_THE_PAPER[data], abs=2)
    assert number("reported", **code) < vae - 18
    assert number(**code) > vae + 30
    for own in paper_tables.table("differences")[1:]:
        gains = [read(text)[0] for text in own[1:] if text != paper_tables.NONE]
        assert max(map(abs, gains)) < 5
    own, paper = number(protocol="own"), number(protocol="paper", model="mlp", posterior="diag")
    assert own < paper - 2
    of = {"protocol": "small", "posterior": "full"}
    assert number("gap_ar1", **of) < 0.5 * number("gap_spherical", **of)
