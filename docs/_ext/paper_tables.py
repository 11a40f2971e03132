"""Tables of the page on the rho-VAE paper, made of the CSV of its experiments at each build.

``.. paper-table:: title`` with ``:table: NAME`` is the table of that name in `TABLES`. It shows the
cells that were run. A number is the mean over seeds with its standard error; a cell of one seed has
none.
"""

import csv
import io
from pathlib import Path

import numpy as np
from docutils.parsers.rst import directives
from docutils.parsers.rst.directives.tables import CSVTable

PATH = Path(__file__).parents[2] / "examples" / "benchmarks" / "rho_vae_paper.csv"
DATA = {"fashion": "Fashion-MNIST", "mnist": "MNIST"}
SHORT = "Fashion", "MNIST"  # the same, where columns are many
MODELS = {"mlp": "VAE", "beta": "β-VAE", "info": "InfoVAE", "cnn": "CNN-VAE"}
POSTERIORS = "diag", "scaled_ar1", "ar1", "full", "spherical"
# Nats per picture: of the paper's figures, and of table 1 of Burda et al.
IN_THE_PAPER = {"fashion": 221.6, "mnist": 86.6}
BY_BURDA = {"elbo": 86.76, "iwae": 85.54}
NONE = "–"


class Experiments:
    """The rows of the CSV as tables: a head, and lines of labels and of numbers as text."""

    def __init__(self, path=PATH):
        with path.open() as file:
            self.rows = list(csv.DictReader(file))

    def numbers(self, column, **wanted):
        """A column by seed (dict), of the rows that have these values and that number."""
        return {
            row["seed"]: float(row[column])
            for row in self.rows
            if row[column] and all(row[name] == value for name, value in wanted.items())
        }

    def on_both(self, column="bound", **wanted):
        """The mean on each data set."""
        return [with_error(self.numbers(column, data=data, **wanted)) for data in DATA]

    def differences_on_both(self, posterior, column, **wanted):
        """From independent components of the same seed, on each data set."""
        found = []
        for data in DATA:
            own, other = (
                self.numbers(column, data=data, posterior=name, **wanted)
                for name in (posterior, "diag")
            )
            gains = {seed: own[seed] - other[seed] for seed in own if seed in other}
            found.append(with_error(gains, "{:+.2f}"))
        return found

    # --- the tables -------------------------------------------------------------------------------

    def published(self):
        yield [""], [*DATA.values()]
        yield ["ρ-VAE, as the paper's figures have it"], [*map(str, IN_THE_PAPER.values())]
        of_code = {"protocol": "published", "posterior": "published"}
        label = "ρ-VAE, the published loss and sampler run again, as reported"
        yield [label], self.on_both("reported", **of_code)
        yield ["the same model, minus its true bound"], self.on_both(**of_code)
        label = "VAE with independent components, the same loop"
        yield [label], self.on_both(protocol="published", posterior="diag")

    def grey(self):
        yield ["model", "posterior"], [*DATA.values()]
        for model, label in MODELS.items():
            for name in POSTERIORS:
                numbers = self.on_both(protocol="paper", model=model, posterior=name)
                yield [label, f"``{name}``"], numbers

    def binary(self):
        yield ["posterior"], [f"{data}, {size}" for size in ("10,000", "60,000") for data in SHORT]
        for name in POSTERIORS:
            of = {"column": "nll", "model": "mlp", "posterior": name}
            small, whole = (self.on_both(protocol=name, **of) for name in ("small", "corrected"))
            yield [f"``{name}``"], small + whole

    def differences(self):
        kinds = "grey", "10,000 binary", "60,000 binary"
        yield ["posterior"], [f"{data}, {kind}" for kind in kinds for data in SHORT]
        columns = {"paper": "bound", "small": "nll", "corrected": "nll"}
        for name in POSTERIORS[1:]:
            parts = (
                self.differences_on_both(name, column, protocol=protocol, model="mlp")
                for protocol, column in columns.items()
            )
            yield [f"``{name}``"], [number for part in parts for number in part]

    def ablation(self):
        yield ["", "epochs"], [*DATA.values()]
        for label, epochs, wanted in (
            ("the paper's protocol, by hand", "15", {"protocol": "published"}),
            ("with averaged weights", "15", {"protocol": "ablation", "model": "averages"}),
            ("with a linear path as well", "15", {"protocol": "paper", "model": "mlp"}),
            ("with a start at the mean as well", "15", {"protocol": "ablation", "model": "start"}),
            ("this package's own settings", "45", {"protocol": "own"}),
            ("the same, no rows held out", "100", {"protocol": "long"}),
        ):
            yield [label, epochs], self.on_both(posterior="diag", **wanted)

    def burda(self):
        yield ["objective", "epochs"], ["here", "published"]
        for row in self.rows:
            if row["protocol"] == "burda":
                nll = f"{float(row['nll']):.2f} ± {float(row['nll_se']):.2f}"
                yield [f"``{row['model']}``", row["epochs"]], [nll, f"{BY_BURDA[row['model']]}"]

    def gaps(self):
        yield ["in place of ``full``"], [*DATA.values()]
        of = {"protocol": "small", "posterior": "full"}
        yield ["an AR(1) covariance"], self.on_both("gap_ar1", **of)
        yield ["a spherical covariance"], self.on_both("gap_spherical", **of)


TABLES = "published", "grey", "binary", "differences", "ablation", "burda", "gaps"


def with_error(numbers, form="{:.2f}"):
    """Mean and standard error of numbers by seed, as text."""
    if not numbers:
        return NONE
    numbers = [*numbers.values()]
    text = form.format(np.mean(numbers)).replace("-", "−")
    if len(numbers) == 1:
        return text
    return f"{text} ± {np.std(numbers, ddof=1) / len(numbers) ** 0.5:.2f}"


def table(name, path=PATH):
    """Lines of text: the head, and those lines in which there is a number."""
    head, *lines = getattr(Experiments(path), name)()
    return [labels + numbers for labels, numbers in (head, *lines) if {*numbers} != {NONE}]


class PaperTable(CSVTable):
    """A ``csv-table`` of one of the `TABLES`."""

    option_spec = {**CSVTable.option_spec, "table": lambda name: directives.choice(name, TABLES)}

    def get_csv_data(self):
        self.options.setdefault("header-rows", 1)
        self.state.document.settings.env.note_dependency(str(PATH))
        text = io.StringIO()
        csv.writer(text).writerows(table(self.options["table"]))
        return text.getvalue().splitlines(), str(PATH)


def setup(app):
    app.add_directive("paper-table", PaperTable)
    return {"parallel_read_safe": True}
